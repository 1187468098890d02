"""One linear layer over a whole image (Team HsThMRI, SNU FastMRI Challenge 2022)."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import ConvTranspose2d
from dealias.models.layers.linear import Linear
from dealias.models.network import Block


class FullyConnected(Block):
    """Max-pooling to a few cells, a linear layer over all of them, a transposed convolution.

    Published for the one size that cells times spread is; at others, what comes out is interpolated
    to the size of what came in.

    Args:
        channels: Of input and output.
        cells: Rows and columns that the linear layer sees.
        spread: Rows and columns that each cell becomes again.
        slope: Of the LeakyReLU after the linear layer; 0 is ReLU.
        dropout: Probability of dropping one of its values.
    """

    def __init__(
        self,
        channels: int,
        cells: tuple[int, int],
        spread: tuple[int, int],
        slope: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.cells, self.slope = cells, slope
        self.linear = Linear(channels * prod(cells), channels * prod(cells))
        self.dropout = nn.Dropout(dropout)
        self.spread = ConvTranspose2d(channels, channels, spread, stride=spread)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        cells = pooled(x, self.cells)
        values = self.dropout(F.leaky_relu(self.linear(cells.flatten(1)), self.slope))
        y: Tensor = self.spread(values.reshape(cells.shape))
        if y.shape[-2:] == x.shape[-2:]:
            return y
        return F.interpolate(y, x.shape[-2:], mode="bilinear")


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
