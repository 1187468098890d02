"""Large separable kernel attention (Lau et al. 2024, arXiv:2309.01439), and a block that has it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.norm import NONE, normalised_activation
from dealias.models.layers.unet import SLOPE
from dealias.models.network import Block

Kernel = Literal[7, 11, 23, 35, 41, 53]
GateKind = Literal["none", "sigmoid", "tanh"]
SHAPES: dict[Kernel, tuple[int, int, int]] = {
    7: (3, 3, 2),
    11: (3, 5, 2),
    23: (5, 7, 3),
    35: (5, 11, 3),
    41: (5, 13, 3),
    53: (5, 17, 3),
}
"""Of each kernel size: taps of the dense pair, taps and dilation of the dilated pair."""
CLAMP = 12.0
"""Beyond this the tanh gate is shut or open, and has no gradient."""


class LargeKernelGate(nn.Module):
    """x times what a large depthwise kernel sees around it.

    The kernel is four depthwise convolutions, along each row and each column, dense and dilated;
    1x1 convolution; and the gate's bound.

    Args:
        channels: Of input and output.
        kernel: The size that the four together are known by.
        gate: "none" multiplies by what comes out, which nothing bounds; "sigmoid"; or "tanh",
            (1 + tanh) / 2 of what is clamped to +-12.
    """

    def __init__(self, channels: int, kernel: Kernel, gate: GateKind) -> None:
        super().__init__()
        dense, dilated, step = SHAPES[kernel]
        self.gate = gate
        self.row, self.column = _pair(channels, dense, 1)
        self.dilated_row, self.dilated_column = _pair(channels, dilated, step)
        self.mix = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        y = self.dilated_column(self.dilated_row(self.column(self.row(x))))
        return x * self._bounded(self.mix(y))

    def _bounded(self, y: Tensor) -> Tensor:
        if self.gate == "sigmoid":
            return torch.sigmoid(y)
        if self.gate == "tanh":
            return (torch.tanh(y.clamp(-CLAMP, CLAMP)) + 1) / 2
        return y


class LargeKernelAttention(nn.Module):
    """x + 1x1 convolution(gate(GELU(1x1 convolution(x))))."""

    def __init__(self, channels: int, kernel: Kernel, gate: GateKind) -> None:
        super().__init__()
        self.first = Conv2d(channels, channels, 1)
        self.gate = LargeKernelGate(channels, kernel, gate)
        self.last = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x + self.last(self.gate(F.gelu(self.first(x))))


class LargeKernelBlock(Block):
    """3x3 convolution, instance normalisation, large kernel attention, LeakyReLU, dropout.

    It takes the place of a U-Net's ConvBlock.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        dropout: Probability of dropping a channel.
        kernel: Of the attention.
        gate: Of the attention.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dropout: float, kernel: Kernel, gate: GateKind
    ) -> None:
        super().__init__()
        self.convolution = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.attention = LargeKernelAttention(out_channels, kernel, gate)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        y = self.attention(normalised_activation(self.convolution(x), NONE))
        return self.dropout(F.leaky_relu(y, SLOPE))


def _pair(channels: int, taps: int, dilation: int) -> tuple[Conv2d, Conv2d]:
    """Depthwise convolutions along rows and along columns that keep the size."""
    reach = dilation * (taps - 1) // 2
    row = Conv2d(
        channels, channels, (1, taps), padding=(0, reach), dilation=dilation, groups=channels
    )
    column = Conv2d(
        channels, channels, (taps, 1), padding=(reach, 0), dilation=dilation, groups=channels
    )
    return row, column
