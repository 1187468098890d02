"""Instance normalisation with or without a trained weight and bias for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dealias.models.layers.norm import Activation, normalised_activation


class AffineNorm(nn.Module):
    """Each channel of each item over its own standard deviation (Ulyanov et al. 2016).

    nn.InstanceNorm2d and an activation, but it takes images of a single pixel. All is float32 or
    better inside.

    Args:
        channels: Of input and output.
        affine: Whether each channel has a trained weight and bias.
    """

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor, activation: Activation, added: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to the same, as `norm.normalised_activation`; x may be overwritten."""
        return normalised_activation(x, activation, self.weight, self.bias, added)
