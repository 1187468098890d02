"""Squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d


class SqueezeExcitation(nn.Module):
    """x times a number in (0, 1) for each channel, from the means of all.

    Args:
        channels: Of input and output.
        reduction: What they are divided by inside; at least one is left.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = Conv2d(channels, inner, 1)
        self.excite = Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        means = x.mean((-2, -1), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(means))))
