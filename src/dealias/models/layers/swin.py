"""Attention within shifted windows (Liu et al. 2021, arXiv:2103.14030), at any image size.

Which pixels of a shifted window may see each other, and which entry of the table of positions two
pixels share, follow from the size and are computed when they are needed: no stored buffer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.layer_norm import LayerNorm
from dealias.models.layers.linear import Linear

STD = 0.02
"""Of fresh weights."""


class WindowAttention(nn.Module):
    """Each head: softmax(q k^T / sqrt(C / heads) + position) v, in each window alone.

    Args:
        channels: C, a multiple of `heads`.
        heads: How many look at once.
        window: Side in pixels.
        positions: Whether a table says how much pixels at each distance matter to each other.
    """

    def __init__(self, channels: int, heads: int, window: int, positions: bool = True) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.table = None
        if positions:
            self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
            nn.init.trunc_normal_(self.table, std=STD)
        self.qkv = linear(channels, 3 * channels)
        self.project = linear(channels, channels)

    def forward(self, windows: Tensor, allowed: Tensor | None) -> Tensor:
        """Windows of pixels to the same.

        Args:
            windows: (N, K, T, C): K windows of T pixels.
            allowed: bool, (K, T, T): who may see whom; None for all.
        """
        count, _, pixels, channels = windows.shape
        qkv = self.qkv(windows).reshape(*windows.shape[:-1], 3, self.heads, -1)
        # one copy of all three, each (N K heads, T, C / heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).reshape(3, -1, pixels, channels // self.heads)
        scale = q.shape[-1] ** -0.5
        before = self._before(windows, allowed)
        # the product is added to what scores begin with where that lies
        scores = before.baddbmm_(q, k.mT, alpha=scale)
        seen = torch.bmm(F.softmax(scores, dim=-1), v)
        seen = seen.reshape(count, -1, self.heads, pixels, channels // self.heads)
        return self.project(seen.transpose(2, 3).flatten(-2))

    def _before(self, windows: Tensor, allowed: Tensor | None) -> Tensor:
        """What scores are without the product, in memory of their own: (N K heads, T, T)."""
        count, number, pixels, _ = windows.shape
        scores = windows.new_zeros(1, pixels, pixels)
        if self.table is not None:
            entries = self.table[relative_positions(self.window, windows.device).flatten()]
            scores = entries.to(windows.dtype).reshape(pixels, pixels, -1).permute(2, 0, 1)
        if allowed is not None:
            scores = torch.where(allowed.unsqueeze(1), scores, -torch.inf)
        shape = (count, number, self.heads, pixels, pixels)
        return scores.expand(shape).clone(memory_format=torch.contiguous_format).flatten(0, 2)


class SwinLayer(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)); each may be dropped as a whole.

    Args:
        channels: Of input and output.
        heads: Of the attention.
        window: Side in pixels.
        shift: What windows are shifted by, where the image has more than one along both axes.
        ratio: Width of the perceptron's hidden layer over `channels`.
        dropout: Probability that an item goes without a residual (stochastic depth).
        positions: Whether the attention knows them.
    """

    def __init__(
        self, channels: int, heads: int, window: int, shift: int, ratio: float,
        dropout: float = 0.0, positions: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.window, self.shift = window, shift
        self.attention_norm = LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window, positions)
        self.perceptron_norm = LayerNorm(channels)
        hidden = int(channels * ratio)
        self.perceptron = nn.Sequential(
            linear(channels, hidden), nn.GELU(), linear(hidden, channels)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same; H and W are multiples of the window."""
        x = x + self._drop(self._attend(self.attention_norm(x)))
        return x + self._drop(self.perceptron(self.perceptron_norm(x)))

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        shift = self.shift if min(height, width) > self.window else 0
        if not shift:
            return self._merge(self.attention(self._split(x), None), height, width)
        allowed = same_region(height, width, self.window, shift, x.device)
        x = torch.roll(x, (-shift, -shift), (1, 2))
        x = self._merge(self.attention(self._split(x), allowed), height, width)
        return torch.roll(x, (shift, shift), (1, 2))

    def _split(self, x: Tensor) -> Tensor:
        return split(x, self.window)

    def _merge(self, windows: Tensor, height: int, width: int) -> Tensor:
        side = self.window
        x = windows.reshape(len(windows), height // side, width // side, side, side, -1)
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _drop(self, residual: Tensor) -> Tensor:
        if not (self.training and self.dropout.p):
            return residual
        return residual * self.dropout(residual.new_ones(len(residual), 1, 1, 1))


def split(x: Tensor, side: int) -> Tensor:
    """(N, H, W, C) to windows (N, K, T, C), row by row."""
    height, width = x.shape[1:3]
    x = x.reshape(len(x), height // side, side, width // side, side, -1)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def same_region(height: int, width: int, side: int, shift: int, device: torch.device) -> Tensor:
    """Which pixels of a shifted window were neighbours before the image was rolled.

    Returns:
        bool (K, T, T). False between pixels that only the roll brought together, from opposite
        edges of the image.
    """
    rows, columns = (torch.arange(n, device=device) >= n - shift for n in (height, width))
    regions = 2 * rows[:, None].int() + columns[None, :].int()
    windows = split(regions[None, :, :, None], side)[0, :, :, 0]
    return windows[:, :, None] == windows[:, None, :]


def relative_positions(side: int, device: torch.device) -> Tensor:
    """For each two pixels of a window, the entry of the table that stands for their distance.

    Returns:
        int (T, T) in [0, (2 side - 1)^2).
    """
    y, x = torch.arange(side**2, device=device) // side, torch.arange(side**2, device=device) % side
    down, right = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (down + side - 1) * (2 * side - 1) + right + side - 1


def linear(inputs: int, outputs: int, bias: bool = True) -> Linear:
    """A linear layer with a transformer's fresh weights."""
    layer = Linear(inputs, outputs, bias)
    nn.init.trunc_normal_(layer.weight, std=STD)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
