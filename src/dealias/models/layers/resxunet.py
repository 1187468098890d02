"""ResXUNet (Ottesen et al. 2022, arXiv:2207.02073): a U-Net of residual blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.linked import Features, decoded
from dealias.models.layers.residual import (
    Normalised,
    ResidualBlock,
    basic_block,
    bottleneck,
    same_size,
)
from dealias.models.network import Block

WIDTHS = (1, 2, 4, 8, 8)
"""Channels of each level, from full resolution to a sixteenth, in those of the first."""
GROUPS = (1, 2, 2, 4, 4)
"""Groups of its grouped convolutions, likewise."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of one ResXUNet.

    Attributes:
        channels: Of the first level.
        groups: Of its grouped convolutions, a divisor of channels.
        reduction: Of squeeze-and-excitation.
    """

    channels: int
    groups: int
    reduction: int

    def width(self, level: int) -> int:
        """Channels of a level."""
        return WIDTHS[level] * self.channels

    def block(self, level: int) -> ResidualBlock:
        """A residual block of two 3x3 convolutions."""
        return basic_block(self.width(level), GROUPS[level] * self.groups, self.reduction)

    def bottleneck(self, level: int, inner: int) -> ResidualBlock:
        """A residual block that is `inner` channels wide inside."""
        groups = GROUPS[level] * self.groups
        return bottleneck(self.width(level), inner, groups, self.reduction)


class EncoderLevel(Block):
    """A convolution that enters the level, and its residual blocks."""

    def __init__(self, enter: Normalised, *blocks: ResidualBlock) -> None:
        super().__init__()
        self.enter = enter
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        return self.blocks(self.enter(x))


class DecoderLevel(Block):
    """Upsampling, what the encoder and the earlier cascade had here, and residual blocks."""

    def __init__(self, sizes: Sizes, level: int, linked: bool, *blocks: ResidualBlock) -> None:
        super().__init__()
        width = sizes.width(level)
        up = ConvTranspose2d(sizes.width(level + 1), width, 2, stride=2, bias=False)
        self.up = Normalised(up)
        self.merge = Normalised(same_size((3 if linked else 2) * width, width, 3))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        """(N, in, H, W) and skips of (N, out, 2H, 2W) to (N, out, 2H, 2W)."""
        return self.blocks(self.merge(torch.cat([self.up(x), *skips], dim=1)))


class ResXUNet(nn.Module):
    """Encoder and decoder with skips, four levels of halving.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        sizes: Everything else.
        linked: Whether decoder levels also see what those of an earlier cascade gave.
        shown: Whether what they give goes to a later cascade.

    Attributes:
        memory_format: Of everything inside, as in `layers.unet.UNet`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sizes: Sizes,
        linked: bool = False,
        shown: bool = False,
    ) -> None:
        super().__init__()
        self.shown = shown
        self.encoder = nn.ModuleList(
            [EncoderLevel(Normalised(same_size(in_channels, sizes.channels, 3)), sizes.block(0))]
        )
        for level in range(1, 4):
            self.encoder.append(EncoderLevel(_down(sizes, level), sizes.block(level)))
        deepest = (sizes.bottleneck(4, sizes.width(4) // 2) for _ in range(2))
        self.encoder.append(EncoderLevel(_down(sizes, 4), *deepest))
        last = (sizes.bottleneck(0, sizes.channels),)
        self.decoder = nn.ModuleList(
            DecoderLevel(sizes, level, linked, sizes.block(level), *(() if level else last))
            for level in range(4)
        )
        self.last = Conv2d(sizes.channels, out_channels, 1)
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor, earlier: Features = ()) -> Tensor | tuple[Tensor, Features]:
        """(N, in, H, W) to (N, out, H, W), H and W multiples of 16; and its features, if shown.

        Args:
            x: Real.
            earlier: Features of the cascade before, if this one is linked.
        """
        x = x.contiguous(memory_format=self.memory_format)
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        features = decoded(self._level, skips.pop(), skips, earlier)
        y = self.last(features[0])
        return (y, features) if self.shown else y

    def _level(self, depth: int, x: Tensor, *others: Tensor) -> Tensor:
        out: Tensor = self.decoder[depth](x, *others)
        return out


def _down(sizes: Sizes, level: int) -> Normalised:
    width = sizes.width(level)
    return Normalised(Conv2d(sizes.width(level - 1), width, 2, stride=2, bias=False))
