"""fastMRI's U-Net on real channels (Ronneberger et al. 2015; Zbontar et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.lines import laid_out
from dealias.models.layers.norm import normalised_activation, normalised_convolution
from dealias.models.network import Block

SLOPE = 0.2


class ConvBlock(Block):
    """Twice: 3x3 convolution, instance normalisation, LeakyReLU, dropout of whole channels."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.first = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.second = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        for convolution in (self.first, self.second):
            x = normalised_convolution(convolution, x, SLOPE)
            x = self.dropout(x)
        return x


class UpBlock(Block):
    """2x2 transposed convolution of stride 2, instance normalisation, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, 2H, 2W)."""
        return normalised_activation(self.convolution(x), SLOPE)


class UNet(nn.Module):
    """Encoder and decoder with skips.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        channels: Channels of the first level; they double at each level.
        pools: Number of average poolings.
        dropout: Probability of dropping a channel.

    Attributes:
        memory_format: Of everything inside. On a CPU, convolutions are up to three times faster
            where channels come last; values change by rounding alone.
    """

    pool: Callable[[Tensor, int], Tensor] = staticmethod(F.avg_pool2d)

    def __init__(
        self, in_channels: int, out_channels: int, channels: int, pools: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(pools + 1)]
        ins = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            ConvBlock(a, b, dropout) for a, b in zip(ins[:-1], widths[:-1], strict=True)
        )
        self.middle: nn.Module = ConvBlock(
            widths[-2] if pools else in_channels, widths[-1], dropout
        )
        self.up = nn.ModuleList(UpBlock(2 * width, width) for width in reversed(widths[:-1]))
        self.decode = nn.ModuleList(
            ConvBlock(2 * width, width, dropout) for width in reversed(widths[:-1])
        )
        self.last = Conv2d(widths[0], out_channels, 1)
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W), any H and W that survive the poolings."""
        x = laid_out(x, self.memory_format)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x, 2)
        x = self.middle(x)
        for up, decode in zip(self.up, self.decode, strict=True):
            skip = skips.pop()
            x = decode(torch.cat([_match(up(x), skip), skip], dim=1))
        return self.last(x)


def _match(x: Tensor, like: Tensor) -> Tensor:
    """Reflect one row or column where an odd size was halved."""
    bottom, right = like.shape[-2] - x.shape[-2], like.shape[-1] - x.shape[-1]
    return F.pad(x, (0, right, 0, bottom), mode="reflect") if bottom or right else x
