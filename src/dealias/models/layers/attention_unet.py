"""A U-Net with attention gates and a fully connected middle (Team HsThMRI, 2022).

Gates after Oktay et al. 2018 (arXiv:1804.03999), each guided by the decoder's features of its own
resolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.dense_middle import DenseMiddle, Pattern
from dealias.models.layers.norm import NONE, RELU, normalised_activation, normalised_convolution
from dealias.models.network import Block

SLOPE = 0.2
"""Of the fully connected layers; all else has ReLU."""


class ReluConvBlock(Block):
    """Twice: 3x3 convolution, instance normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.second = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        for convolution in (self.first, self.second):
            x = normalised_convolution(convolution, x, RELU)
        return x


class ReluUpBlock(Block):
    """4x4 transposed convolution of stride 2, instance normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, 2H, 2W)."""
        return normalised_activation(self.convolution(x), RELU)


class AttentionGate(Block):
    """One weight in (0, 1) for each pixel of a skip, from the skip and the decoder's features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.guide = Conv2d(channels, channels // 2, 1)
        self.skip = Conv2d(channels, channels // 2, 1)
        self.mix = Conv2d(channels // 2, channels // 2, 1)
        self.weigh = Conv2d(channels // 2, 1, 1)

    def forward(self, guide: Tensor, skip: Tensor) -> Tensor:
        """Both (N, C, H, W); the skip, weighted."""
        guiding = normalised_activation(self.guide(guide), NONE)
        seen = normalised_activation(self.skip(skip), RELU, added=guiding)
        mixed = normalised_activation(self.mix(seen), RELU)
        return skip * torch.sigmoid(normalised_activation(self.weigh(mixed), NONE))


class AttentionUNet(nn.Module):
    """Encoder, fully connected middle, decoder; skips go through gates.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        channels: Channels of the first level, even; they double at each level.
        pools: Number of maximum poolings.
        hidden: Width of the middle's narrow layer.
        kernel: Side of the middle's transposed convolution.
        stride: Of it; kernel + stride is the side of the middle at the published size.
        dropout: Probability of dropping a value in the middle.

    Attributes:
        memory_format: Of everything inside, as in `layers.unet.UNet`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        pools: int,
        hidden: int,
        kernel: int,
        stride: int,
        dropout: float,
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(pools + 1)]
        ins = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            ReluConvBlock(a, b) for a, b in zip(ins[:-1], widths[:-1], strict=True)
        )
        self.middle = ReluConvBlock(widths[-2], widths[-1])
        pattern = Pattern((kernel, kernel), (stride, stride))
        self.mix = DenseMiddle(widths[-1], (hidden,), pattern, SLOPE, dropout)
        levels = list(reversed(widths[:-1]))
        self.up = nn.ModuleList(ReluUpBlock(2 * width, width) for width in levels)
        self.gates = nn.ModuleList(AttentionGate(width) for width in levels)
        self.decode = nn.ModuleList(ReluConvBlock(2 * width, width) for width in levels)
        self.last = Conv2d(channels, out_channels, 1, bias=False)
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W); H and W are multiples of 2 to the number of poolings."""
        x = x.contiguous(memory_format=self.memory_format)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.mix(self.middle(x))
        for up, gate, decode in zip(self.up, self.gates, self.decode, strict=True):
            x = up(x)
            x = decode(torch.cat([x, gate(x, skips.pop())], dim=1))
        return self.last(x)
