"""The fully connected middle of a U-Net (Team HsThMRI, SNU fastMRI challenge 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import ConvTranspose2d
from dealias.models.layers.linear import Linear
from dealias.models.layers.lines import laid_out_like
from dealias.models.network import Block


@dataclass(frozen=True)
class Pattern:
    """How the values of fully connected layers are spread over an image.

    Attributes:
        kernel: Of the transposed convolution that spreads the values.
        stride: Of it; with the kernel it makes the size of what comes out, the published one.
        cells: Rows and columns of the values.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    cells: tuple[int, int] = (2, 2)


class DenseMiddle(Block):
    """Every pixel sees every other: pooled to a few cells, fully connected layers, spread again.

    It takes any size. A cell has the largest values of its part; what comes out of the transposed
    convolution is interpolated to the input's size. At the published size nothing is interpolated,
    and all is as published for that size alone.

    Args:
        channels: Of the input and the output.
        hidden: Widths of the layers between the first and the last values.
        pattern: How values are spread.
        slope: Of the activation's negative values, after each fully connected layer.
        dropout: Probability of dropping a value, after each activation.
    """

    def __init__(
        self,
        channels: int,
        hidden: Sequence[int],
        pattern: Pattern,
        slope: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.cells = pattern.cells
        ends = channels * prod(self.cells)
        widths = [ends, *hidden, ends]
        self.layers = nn.ModuleList(
            Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.spread = ConvTranspose2d(channels, channels, pattern.kernel, pattern.stride)
        self.dropout, self.slope = nn.Dropout(dropout), slope

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        values = pooled(x, self.cells).flatten(1)
        for layer in self.layers:
            values = self.dropout(F.leaky_relu(layer(values), self.slope))
        image: Tensor = self.spread(values.reshape(-1, x.shape[1], *self.cells))
        if image.shape != x.shape:
            image = F.interpolate(image, x.shape[-2:], mode="bilinear", align_corners=False)
        return laid_out_like(image, x)


def pooled(x: Tensor, cells: tuple[int, int]) -> Tensor:
    """The largest value of each cell: F.adaptive_max_pool2d.

    In place of it, as its gradient differs from run to run on a GPU.

    Args:
        x: (N, C, H, W).
        cells: Rows and columns of what comes out; cells share pixels where sizes do not divide.

    Returns:
        (N, C, rows, columns).
    """
    for axis, count in zip((-2, -1), cells, strict=True):
        size = x.shape[axis]
        bounds = ((i * size // count, -(-(i + 1) * size // count)) for i in range(count))
        parts = (x.narrow(axis, start, stop - start) for start, stop in bounds)
        x = torch.cat([part.amax(axis, keepdim=True) for part in parts], dim=axis)
    return x
