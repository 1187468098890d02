"""Residual blocks with squeeze-and-excitation and grouped convolutions, as in DIRCN.

He et al. 2016, arXiv:1512.03385; Xie et al. 2017, arXiv:1611.05431; Hu et al. 2018,
arXiv:1709.01507; Ottesen et al. 2022, arXiv:2207.02073.
"""

from __future__ import annotations

from torch import Tensor, nn

from dealias.models.layers.affine_norm import AffineNorm
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.norm import SILU, normalised_activation
from dealias.models.layers.squeeze_excite import SqueezeExcitation


class Normalised(nn.Module):
    """A convolution, instance normalisation, SiLU.

    Args:
        convolution: Without bias, which the normalisation would take away.
    """

    def __init__(self, convolution: Conv2d | ConvTranspose2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = AffineNorm(convolution.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        return self.norm(self.convolution(x), SILU)


class GatedNormalised(Normalised):
    """A convolution, instance normalisation, squeeze-and-excitation, a residual sum, SiLU.

    The mean of a normalised channel is its bias, whatever the image. So the gate needs no image,
    and gated is what is normalised with a weight and a bias that the gate has multiplied.
    """

    def forward(  # type: ignore[override]
        self, y: Tensor, x: Tensor, gate: SqueezeExcitation
    ) -> Tensor:
        """Y is convolved and x is added: (N, in, H, W) and (N, out, H, W) to (N, out, H, W)."""
        assert self.norm.weight is not None
        assert self.norm.bias is not None
        y = self.convolution(y)
        share_C = gate(self.norm.bias.to(y.dtype)).to(self.norm.bias.dtype)
        weight_C, bias_C = self.norm.weight * share_C, self.norm.bias * share_C
        return normalised_activation(y, SILU, weight_C, bias_C, x)


def same_size(ins: int, outs: int, side: int, groups: int = 1) -> Conv2d:
    """A convolution of an odd side that keeps the size."""
    return Conv2d(ins, outs, side, padding=side // 2, groups=groups, bias=False)


class ResidualBlock(nn.Module):
    """SiLU of x plus convolutions of x, which are weighted by squeeze-and-excitation.

    Args:
        convolutions: What x goes through; the last is a `GatedNormalised`.
        channels: Of input and output.
        reduction: Of squeeze-and-excitation.
    """

    def __init__(self, convolutions: nn.Sequential, channels: int, reduction: int) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.gate = SqueezeExcitation(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        *before, last = self.convolutions
        y = x
        for convolution in before:
            y = convolution(y)
        return last(y, x, self.gate)


def basic_block(channels: int, groups: int, reduction: int) -> ResidualBlock:
    """Two 3x3 convolutions, of which the second is grouped."""
    convolutions = nn.Sequential(
        Normalised(same_size(channels, channels, 3)),
        GatedNormalised(same_size(channels, channels, 3, groups)),
    )
    return ResidualBlock(convolutions, channels, reduction)


def bottleneck(channels: int, inner: int, groups: int, reduction: int) -> ResidualBlock:
    """A grouped 3x3 convolution between two of 1x1."""
    convolutions = nn.Sequential(
        Normalised(same_size(channels, inner, 1)),
        Normalised(same_size(inner, inner, 3, groups)),
        GatedNormalised(same_size(inner, channels, 1)),
    )
    return ResidualBlock(convolutions, channels, reduction)
