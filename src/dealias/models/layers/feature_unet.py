"""The U-Net of FI-VarNet (Giannakopoulos et al. 2024): features in, features out."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.alias_attention import AliasAttention
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.norm import normalised_activation
from dealias.models.layers.unet import SLOPE, ConvBlock, UpBlock
from dealias.models.network import Block
from dealias.physics.readout import centre_crop_or_pad

MakeBlock = Callable[[int, int, float], Block]
DEEP = 2
"""Levels above the lowest that have large kernels too."""


class FeatureUNet(nn.Module):
    """Encoder and decoder with skips, normalised at the end.

    Args:
        features: Channels of input and output.
        channels: Of the first level; they double at each level.
        pools: Number of average poolings.
        dropout: Probability of dropping a channel.
        deep: Makes the encoder's blocks of the lowest level and the `DEEP` levels above it, from
            channels in and out and dropout.

    Attributes:
        memory_format: Of everything inside, as in `layers.unet.UNet`.
    """

    def __init__(
        self, features: int, channels: int, pools: int, dropout: float, deep: MakeBlock = ConvBlock
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(pools + 1)]
        ins = [features, *widths[:-1]]
        self.down = nn.ModuleList(
            (deep if level >= pools - DEEP else ConvBlock)(a, b, dropout)
            for level, (a, b) in enumerate(zip(ins, widths, strict=True))
        )
        self.up = nn.ModuleList(UpBlock(2 * width, width) for width in widths[:-1])
        self.decode = nn.ModuleList(ConvBlock(2 * width, width, dropout) for width in widths[:-1])
        self.last = Conv2d(channels, features, 1, bias=False)
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, H, W) to the same, any H and W."""
        height, width = x.shape[-2:]
        x = _extended(x, 2 ** len(self.up)).contiguous(memory_format=self.memory_format)
        skips: list[Tensor] = []
        for block in self.down:
            x = block(F.avg_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for up, decode in zip(reversed(self.up), reversed(self.decode), strict=True):
            x = decode(torch.cat([skips.pop(), up(x)], dim=1))
        return normalised_activation(self.last(x), SLOPE)[..., :height, :width]


class FeatureRefiner(nn.Module):
    """Alias attention, where there is one, and the U-Net.

    Args:
        attention: It sees all rows and columns: aliases lie anywhere.
        unet: The U-Net.
        crop: Rows and columns around the centre that the U-Net sees, or all that there are; beyond
            them what comes out is 0. None is all.
    """

    def __init__(
        self, attention: AliasAttention | None, unet: FeatureUNet,
        crop: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attention, self.unet, self.crop = attention, unet, crop

    def forward(self, x: Tensor, accelerations: tuple[int, ...]) -> Tensor:
        """(N, features, H, W) and each item's number of aliases, to (N, features, H, W)."""
        x = x if self.attention is None else self.attention(x, accelerations)
        if self.crop is None:
            return self.unet(x)
        height, width = x.shape[-2:]
        inner = centre_crop_or_pad(x, (min(height, self.crop[0]), min(width, self.crop[1])))
        return centre_crop_or_pad(self.unet(inner), (height, width))


class FeatureConvolutions(Block):
    """Twice: 5x5 convolution, instance normalisation, LeakyReLU."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = Conv2d(features, features, 5, padding=2, bias=False)
        self.second = Conv2d(features, features, 5, padding=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, H, W) to the same."""
        for convolution in (self.first, self.second):
            x = normalised_activation(convolution(x), SLOPE)
        return x


def _extended(x: Tensor, multiple: int) -> Tensor:
    """Reflect at the bottom and the right until H and W are multiples."""
    bottom, right = (-size % multiple for size in x.shape[-2:])
    if not (bottom or right):
        return x
    enough = bottom < x.shape[-2] and right < x.shape[-1]
    return F.pad(x, (0, right, 0, bottom), mode="reflect" if enough else "replicate")
