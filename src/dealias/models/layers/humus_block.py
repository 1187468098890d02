"""HUMUS-Block (Fabian et al. 2022, arXiv:2203.08213): convolutions around a multi-scale Swin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.layer_norm import LayerNorm
from dealias.models.layers.norm import normalised_activation
from dealias.models.layers.swin import SwinLayer, linear
from dealias.models.layers.unet import SLOPE, ConvBlock, UpBlock
from dealias.models.network import Block


@dataclass(frozen=True)
class Sizes:
    """Sizes of one block; tuples go from the shallowest level to the deepest.

    Attributes:
        features: Channels of the first level, even; they double at each level.
        window: Side of the attention's windows.
        depths: Swin layers of each level, in the encoder and in the decoder.
        heads: Of each level's attention.
        bottleneck_depth: Swin layers of the bottleneck.
        bottleneck_heads: Of its attention.
        ratio: Width of the perceptrons over channels.
        dropout: Of the deepest layer's residuals; the first layer's are kept, it grows in between.
    """

    features: int
    window: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    bottleneck_depth: int
    bottleneck_heads: int
    ratio: float
    dropout: float

    @property
    def multiple(self) -> int:
        """What H and W must be multiples of: each level is made of whole windows."""
        return int(2 * self.window * 2 ** len(self.depths))

    def group(self, level: int) -> ResidualGroup:
        """A fresh residual group of a level."""
        rates = torch.linspace(0, self.dropout, sum(self.depths), device="cpu").tolist()
        start = sum(self.depths[:level])
        return ResidualGroup(
            self.features * 2**level, self.heads[level], self.window, self.ratio,
            rates[start : start + self.depths[level]],
        )  # fmt: skip

    def deepest(self) -> ResidualGroup:
        """A fresh residual group of the bottleneck, which drops nothing."""
        channels = self.features * 2 ** len(self.depths)
        rates = [0.0] * self.bottleneck_depth
        return ResidualGroup(channels, self.bottleneck_heads, self.window, self.ratio, rates)


class ResidualGroup(Block):
    """x + convolution(Swin layers(x)); the windows of every second layer are shifted by half."""

    def __init__(
        self, channels: int, heads: int, window: int, ratio: float, rates: Sequence[float]
    ) -> None:
        super().__init__()
        self.swin = nn.Sequential(
            *(
                SwinLayer(channels, heads, window, number % 2 * (window // 2), ratio, rate)
                for number, rate in enumerate(rates)
            )
        )
        self.convolution = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        y = self.convolution(self.swin(x).permute(0, 3, 1, 2))
        return x + y.permute(0, 2, 3, 1)


class Merge(Block):
    """Four neighbours to one, of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm(4 * channels)
        self.reduce = linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2H, 2W, C) to (N, H, W, 2C)."""
        # channels of the left two pixels, upper first, then of the right two
        count, height, width, channels = x.shape
        pixels = x.reshape(count, height // 2, 2, width // 2, 2, channels)
        return self.reduce(self.norm(pixels.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class Expand(Block):
    """One to four neighbours of half the channels, mixed with the skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = linear(2 * channels, 4 * channels, bias=False)
        self.mix = linear(2 * channels, channels, bias=False)
        self.norm = LayerNorm(channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, H, W, 2C) and (N, 2H, 2W, C) to (N, 2H, 2W, C)."""
        pixels = self.expand(x).unflatten(-1, (2, 2, -1)).permute(0, 1, 3, 2, 4, 5)
        y = pixels.flatten(3, 4).flatten(1, 2)
        return self.norm(self.mix(torch.cat([y, skip], dim=-1)))


class HumusBlock(nn.Module):
    """x + what convolutions see at full resolution and Swin layers from half of it downwards.

    Args:
        channels: Of input and output.
        sizes: Everything else.

    Attributes:
        memory_format: Of the convolutions' tensors; the Swin layers' channels come last anyway.
    """

    def __init__(self, channels: int, sizes: Sizes) -> None:
        super().__init__()
        width, levels = sizes.features, range(len(sizes.depths))
        widths = [width * 2**level for level in levels]
        self.first = Conv2d(channels, width // 2, 3, padding=1)
        self.enter = ConvBlock(width // 2, width, 0.0)
        self.down = DownBlock(width, width)
        self.norm = LayerNorm(width)
        self.encoder = nn.ModuleList(sizes.group(level) for level in levels)
        self.merge = nn.ModuleList(Merge(each) for each in widths)
        self.bottleneck_norm = LayerNorm(2 * widths[-1])
        self.bottleneck = sizes.deepest()
        self.expand = nn.ModuleList(Expand(each) for each in reversed(widths))
        self.decoder = nn.ModuleList(sizes.group(level) for level in reversed(levels))
        self.last_norm = LayerNorm(width)
        self.after = Conv2d(width, width, 3, padding=1)
        self.up = UpBlock(width, width // 2)
        self.leave = ConvBlock(width, width // 2, 0.0)
        self.last = Conv2d(width // 2, channels, 3, padding=1)
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same; H and W are multiples of `Sizes.multiple`."""
        first = self.first(x.contiguous(memory_format=self.memory_format))
        down = self.down(self.enter(first))
        deep = self._multiscale(down.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.leave(torch.cat([self.up(self.after(deep)), first], dim=1))
        return x + self.last(y)

    def _multiscale(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        x = self.norm(x)
        skips = []
        for group, merge in zip(self.encoder, self.merge, strict=True):
            skips.append(group(x))
            x = merge(skips[-1])
        x = self.bottleneck(self.bottleneck_norm(x))
        for expand, group in zip(self.expand, self.decoder, strict=True):
            x = group(expand(x, skips.pop()))
        return self.last_norm(x)


class DownBlock(Block):
    """2x2 convolution of stride 2, instance normalisation, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = Conv2d(in_channels, out_channels, 2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, 2H, 2W) to (N, out, H, W)."""
        return normalised_activation(self.convolution(x), SLOPE)
