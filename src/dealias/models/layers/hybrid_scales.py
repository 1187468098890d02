"""dHUMUS's denoiser: several hybrids of convolutions and Swin layers, each from another scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.attention_unet import ReluConvBlock
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.lines import laid_out
from dealias.models.layers.norm import RELU, normalised_activation
from dealias.models.layers.swin import SwinLayer
from dealias.models.network import Block

RATIO = 4
"""Width of the perceptrons' hidden layer over their channels."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of every scale's hybrid.

    Attributes:
        channels: Of full and half resolution; they double at each further level.
        heads: Of each level's attention.
        window: Side of its windows.
    """

    channels: int
    heads: int
    window: int

    def multiple(self, scales: Sequence[int]) -> int:
        """What H and W must be multiples of: whole windows at the lowest level."""
        return max(2 * scale * self.window if scale > 1 else 1 for scale in scales)


class SwinLevel(Block):
    """A Swin layer of an image; its windows are shifted by half at every second level."""

    def __init__(self, sizes: Sizes, level: int) -> None:
        super().__init__()
        shift = level % 2 * (sizes.window // 2)
        channels = sizes.channels * 2**level
        self.swin = SwinLayer(channels, sizes.heads, sizes.window, shift, RATIO, positions=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return self.swin(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SwinUNet(nn.Module):
    """A U-Net whose encoder is a Swin layer at each level, and whose decoder convolves."""

    def __init__(self, sizes: Sizes, levels: int) -> None:
        super().__init__()
        widths = [sizes.channels * 2**level for level in range(levels)]
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.levels = nn.ModuleList(SwinLevel(sizes, level) for level in range(levels))
        self.down = nn.ModuleList(Conv2d(a, b, 2, stride=2) for a, b in steps)
        self.up = nn.ModuleList(ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(steps))
        self.decode = nn.ModuleList(ReluConvBlock(b, a) for a, b in reversed(steps))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        skips = []
        for level, down in zip(self.levels[:-1], self.down, strict=True):
            skips.append(level(x))
            x = down(skips[-1])
        x = self.levels[-1](x)
        for up, decode in zip(self.up, self.decode, strict=True):
            x = decode(torch.cat([up(x), skips.pop()], dim=1))
        return x


class Hybrid(nn.Module):
    """What one scale adds: convolutions at full resolution, a Swin U-Net from half of it down.

    Args:
        in_out: Channels of input and output.
        sizes: Of everything inside.
        scale: A power of two; of its levels, the lowest has 1 / (2 scale) of the resolution.
    """

    def __init__(self, in_out: int, sizes: Sizes, scale: int) -> None:
        super().__init__()
        channels = sizes.channels
        self.enter = ReluConvBlock(in_out, channels)
        self.halve = Conv2d(channels, channels, 2, stride=2)
        self.deep = SwinUNet(sizes, scale.bit_length())
        self.leave = ConvTranspose2d(2 * channels, in_out, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_out, H, W) to the same."""
        full = self.enter(x)
        deep = self.deep(self.halve(full))
        return self.leave(torch.cat([deep, F.avg_pool2d(full, 2)], dim=1))


class Plain(nn.Module):
    """What scale 1 adds: convolutions alone."""

    def __init__(self, in_out: int, sizes: Sizes) -> None:
        super().__init__()
        self.enter = ReluConvBlock(in_out, sizes.channels)
        self.inner = Conv2d(sizes.channels, in_out, 3, padding=1, bias=False)
        self.leave = Conv2d(in_out, in_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_out, H, W) to the same."""
        return self.leave(normalised_activation(self.inner(self.enter(x)), RELU))


class HybridScales(nn.Module):
    """x + what all scales add, each by its weight.

    Args:
        in_out: Channels the scales see and give: 2, or 1 where only the first channel (a magnitude)
            has anything in it; the second is then given back as 0.
        sizes: Of every scale.
        scales: Powers of two.

    Attributes:
        memory_format: Of everything inside.
    """

    def __init__(self, in_out: int, sizes: Sizes, scales: Sequence[int]) -> None:
        super().__init__()
        self.in_out = in_out
        self.scales = nn.ModuleDict(
            {
                str(scale): Hybrid(in_out, sizes, scale) if scale > 1 else Plain(in_out, sizes)
                for scale in scales
            }
        )
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(N, 2, H, W) to the same; weights are (N, scales).

        Without gradients, a scale that has no weight is not computed; with them it is, since what
        it would have added is what its weight learns from.
        """
        seen = laid_out(x[:, : self.in_out], self.memory_format)
        out = seen
        shares = weights.to(x.dtype)[:, :, None, None, None].unbind(1)
        for scale, share in zip(self.scales.values(), shares, strict=True):
            if torch.is_grad_enabled() or share.is_meta or share.any():
                out = out + share * scale(seen)
        return F.pad(out, (0, 0, 0, 0, 0, x.shape[1] - self.in_out))
