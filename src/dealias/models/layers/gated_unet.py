"""Attention U-Net whose lowest level is one linear layer (Team HsThMRI, 2022).

Its gates are those of Oktay et al. 2018, arXiv:1804.03999, at the resolution of what they weigh.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dealias.models.layers.affine_norm import AffineNorm
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.dense_middle import Pattern
from dealias.models.layers.norm import NONE, RELU
from dealias.models.layers.pooled_unet import BottomedUNet, DoubleConvolution
from dealias.models.network import Block


class Gate(nn.Module):
    """x times a number in (0, 1) for each pixel, from the decoder's features and x itself.

    Args:
        channels: Of both.
        inner: Of their sum.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.decoded = Conv2d(channels, inner, 1)
        self.skip = Conv2d(channels, inner, 1)
        self.score = Conv2d(inner, 1, 1)
        self.norm = AffineNorm(inner, affine=False)
        self.score_norm = AffineNorm(1, affine=False)

    def forward(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Twice (N, C, H, W) to the same."""
        both = self.norm(self.skip(x), RELU, added=self.norm(self.decoded(decoded), NONE))
        return x * torch.sigmoid(self.score_norm(self.score(both), NONE))


class UpBlock(Block):
    """4x4 transposed convolution of stride 2, instance normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        self.norm = AffineNorm(out_channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, 2H, 2W)."""
        return self.norm(self.convolution(x), RELU)


class DecoderLevel(Block):
    """The gated skip, what the earlier cascade had here, and two convolutions."""

    def __init__(self, channels: int, linked: bool) -> None:
        super().__init__()
        self.gate = Gate(channels, max(1, channels // 2))
        self.blocks = DoubleConvolution((3 if linked else 2) * channels, channels, affine=False)

    def forward(self, x: Tensor, skip: Tensor, *earlier: Tensor) -> Tensor:
        """All (N, C, H, W) to the same."""
        return self.blocks(torch.cat([x, self.gate(x, skip), *earlier], dim=1))


class GatedUNet(BottomedUNet):
    """Gated skips; H and W are multiples of 8."""

    levels, affine, slope = 3, False, 0.2
    pattern = Pattern((12, 10), (12, 10), (8, 5))
    """Cells become 12x10 pixels each of the middle, the image is 768x400."""

    def add_decoder(self, widths: list[int], linked: bool) -> None:
        """Transposed convolutions, and gates with two convolutions at each level."""
        self.up = nn.ModuleList(UpBlock(2 * width, width) for width in widths)
        self.decoder = nn.ModuleList(DecoderLevel(width, linked) for width in widths)

    def level(self, depth: int, x: Tensor, skip: Tensor, *earlier: Tensor) -> Tensor:
        """What a decoder level gives; depth 0 is full resolution."""
        out: Tensor = self.decoder[depth](self.up[depth](x), skip, *earlier)
        return out
