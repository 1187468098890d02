"""Instance normalisation with or without a trained weight and bias for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dealias.models.layers.norm import EPS


class AffineNorm(nn.Module):
    """Each channel of each item over its own standard deviation (Ulyanov et al. 2016).

    nn.InstanceNorm2d, but it takes images of a single pixel, and its weights are cast like those of
    `layers.convolution`. Means and variances are float32 or better.

    Args:
        channels: Of input and output.
        affine: Whether each channel has a trained weight and bias.
    """

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        # one group for each channel: the same function without copies of the weights
        weight = None if self.weight is None else self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return torch.group_norm(x, self.channels, weight, bias, EPS)
