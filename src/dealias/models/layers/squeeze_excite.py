"""Squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d


class SqueezeExcitation(nn.Module):
    """A number in (0, 1) for each channel, from the means of all.

    Args:
        channels: Of input and output.
        reduction: What they are divided by inside; at least one is left.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = Conv2d(channels, inner, 1)
        self.excite = Conv2d(inner, channels, 1)

    def forward(self, means_C: Tensor) -> Tensor:
        """(C,) to the same."""
        seen = F.relu(self.squeeze(means_C[None, :, None, None]))
        return torch.sigmoid(self.excite(seen))[0, :, 0, 0]
