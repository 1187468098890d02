"""U-Net whose lowest level is one linear layer (Team HsThMRI, SNU FastMRI Challenge 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.affine_norm import AffineNorm
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.dense_middle import DenseMiddle, Pattern
from dealias.models.layers.resxunet import Features
from dealias.models.network import Block

LEVELS = 4
PATTERN = Pattern((12, 5), (12, 5), (4, 5))
"""Of the linear layer: cells become 12x5 pixels each of the middle, the image is 768x400."""


class DoubleConvolution(Block):
    """Twice: 3x3 convolution, instance normalisation, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        affine: Whether normalisations and convolutions have weights and biases of their own.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool) -> None:
        super().__init__()
        self.first = Conv2d(in_channels, out_channels, 3, padding=1, bias=affine)
        self.first_norm = AffineNorm(out_channels, affine)
        self.second = Conv2d(out_channels, out_channels, 3, padding=1, bias=affine)
        self.second_norm = AffineNorm(out_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        x = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(x)))


class PooledUNet(nn.Module):
    """Encoder and decoder with skips, and one linear layer below that sees all of the image.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        channels: Channels of the first level; they double at each level.
        dropout: Probability of dropping what the linear layer gives.
        linked: Whether decoder levels also see what those of an earlier cascade gave.
        shown: Whether what they give goes to a later cascade.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        dropout: float,
        linked: bool = False,
        shown: bool = False,
    ) -> None:
        super().__init__()
        self.shown = shown
        widths = [channels * 2**level for level in range(LEVELS + 1)]
        ins = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            DoubleConvolution(a, b, affine=True) for a, b in zip(ins, widths, strict=True)
        )
        self.bottom = DenseMiddle(widths[-1], (), PATTERN, 0.0, dropout)
        self.up = nn.ModuleList(
            ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[:-1]
        )
        self.decode = nn.ModuleList(
            DoubleConvolution((3 if linked else 2) * width, width, affine=True)
            for width in widths[:-1]
        )
        self.last = Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, earlier: Features = ()) -> Tensor | tuple[Tensor, Features]:
        """(N, in, H, W) to (N, out, H, W), H and W multiples of 16; and its features, if shown.

        Args:
            x: Real.
            earlier: Features of the cascade before, if this one is linked.
        """
        skips = [self.down[0](x)]
        for block in list(self.down)[1:]:
            skips.append(block(F.max_pool2d(skips[-1], 2)))
        x = self.bottom(skips[-1])
        features: list[Tensor] = []
        for depth in reversed(range(LEVELS)):
            seen = [skips[depth], *earlier[depth : depth + 1], self.up[depth](x)]
            x = self.decode[depth](torch.cat(seen, dim=1))
            features.insert(0, x)
        y = self.last(x)
        return (y, tuple(features)) if self.shown else y
