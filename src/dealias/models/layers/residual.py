"""Residual blocks with squeeze-and-excitation and grouped convolutions, as in DIRCN.

He et al. 2016, arXiv:1512.03385; Xie et al. 2017, arXiv:1611.05431; Hu et al. 2018,
arXiv:1709.01507; Ottesen et al. 2022, arXiv:2207.02073.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.affine_norm import AffineNorm
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.squeeze_excite import SqueezeExcitation


class Normalised(nn.Module):
    """A convolution and instance normalisation; then SiLU if it is asked for.

    Args:
        convolution: Without bias, which the normalisation would take away.
        active: Whether SiLU follows.
    """

    def __init__(self, convolution: Conv2d | ConvTranspose2d, active: bool = True) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = AffineNorm(convolution.out_channels)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        x = self.norm(self.convolution(x))
        return F.silu(x) if self.active else x


def normalised(ins: int, outs: int, side: int, groups: int = 1, active: bool = True) -> Normalised:
    """A convolution of an odd side that keeps the size, normalised."""
    padding = side // 2
    convolution = Conv2d(ins, outs, side, padding=padding, groups=groups, bias=False)
    return Normalised(convolution, active)


class ResidualBlock(nn.Module):
    """SiLU of x plus convolutions of x, which are weighted by squeeze-and-excitation.

    Args:
        convolutions: What x goes through; the last one without activation.
        channels: Of input and output.
        reduction: Of squeeze-and-excitation.
    """

    def __init__(self, convolutions: nn.Sequential, channels: int, reduction: int) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.gate = SqueezeExcitation(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return F.silu(x + self.gate(self.convolutions(x)))


def basic_block(channels: int, groups: int, reduction: int) -> ResidualBlock:
    """Two 3x3 convolutions, of which the second is grouped."""
    convolutions = nn.Sequential(
        normalised(channels, channels, 3),
        normalised(channels, channels, 3, groups, active=False),
    )
    return ResidualBlock(convolutions, channels, reduction)


def bottleneck(channels: int, inner: int, groups: int, reduction: int) -> ResidualBlock:
    """A grouped 3x3 convolution between two of 1x1."""
    convolutions = nn.Sequential(
        normalised(channels, inner, 1),
        normalised(inner, inner, 3, groups),
        normalised(inner, channels, 1, active=False),
    )
    return ResidualBlock(convolutions, channels, reduction)
