"""3x3 convolutions on a CPU by Winograd's minimal filtering (Lavin and Gray 2016).

The same function with 36 products for a tile of 4x4 instead of 144. In float64 it agrees with
torch's to rounding; in float32 images are as far from that as torch's own, within a factor of
three, and gradients of weights within a factor of six.
"""

from __future__ import annotations

from ctypes import c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealias.kernels.build import in_use, simd
from dealias.kernels.operations import MOMENT, define, run

POINTS, TILE = 36, 4
ROOM = 1 << 19
"""Bytes of a core's cache that a block of tiles takes."""
FEWEST = 24
"""Tiles in a block, a multiple of the rows of a product that registers hold; with fewer, weights
that no cache holds would be read too often."""
MOST_PARTS = 64 << 20
"""Bytes that sums over tiles take that are made side by side."""
NARROW, WIDE = 8, 16
"""Channels on one side, and on the other, below which vectors would be too empty."""
TILES = 128
"""Below as many, transforming the weights costs what is gained."""
WORTH = 1 << 22
"""Products of a direct convolution below which calls cost what is gained."""


def suits(x: Tensor, out_channels: int) -> bool:
    """Whether a 3x3 convolution of x with zero padding 1 is computed here.

    Args:
        x: (N, C, H, W); its channels last in memory.
        out_channels: Of the result.
    """
    batch, channels, height, width = x.shape
    few, many = sorted((channels, out_channels))
    tiles = batch * _tiles(height, width)
    return (
        few >= NARROW
        and many >= WIDE
        and tiles >= TILES
        and x.numel() * out_channels * 9 >= WORTH
        and x.is_contiguous(memory_format=torch.channels_last)
        and in_use(x)
    )


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.conv2d(x, weight, bias, padding=1).

    Args:
        x: (N, C, H, W) float32 or float64 that `suits`.
        weight: (O, C, 3, 3), same dtype.
        bias: (O,), same dtype.

    Returns:
        (N, O, H, W), channels last.
    """
    out: Tensor = _Conv3x3.apply(x, weight, bias, None)  # type: ignore[no-untyped-call]
    return out


def conv3x3_moments(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """The same, and what `norm.moments` says of it, found while it is at hand."""
    out: tuple[Tensor, Tensor] = _Conv3x3.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return out


def conv3x3_gradients(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of x and of the weight, from that of `conv3x3(x, weight)`."""
    return _CONVOLVE(grad, weight, None, True), _CORRELATE(x, grad)


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float | None) -> Any:
        ctx.save_for_backward(x, weight)
        if eps is None:
            return _CONVOLVE(x, weight, bias, False)
        out, found = _CONVOLVE_MOMENTS(x, weight, bias, eps)
        ctx.mark_non_differentiable(found)
        return out, found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *of_moments: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        return (
            _CONVOLVE(grad, weight, None, True) if of_x else None,
            _CORRELATE(x, grad) if of_weight else None,
            grad.sum((0, 2, 3)) if of_bias else None,
            None,
        )


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """The convolution; transposed, that of (N, O, H, W) which gives (N, C, H, W)."""
    return _run(x, weight, bias, transposed, None)[0]


def _convolved_moments(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    out, found = _run(x, weight, bias, False, eps)
    assert found is not None
    return out, found


def _run(
    x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, eps: float | None
) -> tuple[Tensor, Tensor | None]:
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    out_channels = weight.shape[1 if transposed else 0]
    threads = torch.get_num_threads()
    spread = x.new_empty(POINTS, channels, _whole(out_channels, x))
    place, strides = _turned(weight) if transposed else (weight, weight.stride())
    run("spread_weights", x.dtype, place, strides, channels, out_channels, threads, spread)
    block, room = _room(x, out_channels, threads)
    out = x.new_empty(batch, height, width, out_channels)
    parts = found = None
    if eps is not None:
        blocks = -(-_tiles(height, width) // block)
        parts = torch.empty(batch, blocks, out_channels, MOMENT, dtype=torch.float64)
        found = x.new_empty(3, batch, out_channels)
    bias = None if bias is None else bias.contiguous()
    run(
        "convolve", x.dtype, x, spread, bias, out, _shape(x), out_channels, block, threads, room,
        eps or 0.0, parts, found,
    )  # fmt: skip
    return out.permute(0, 3, 1, 2), found


def _of_weight(x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of a convolution's weights (O, C, 3, 3), contiguous."""
    x, grad = (one.contiguous(memory_format=torch.channels_last) for one in (x, grad))
    channels, out_channels = x.shape[1], grad.shape[1]
    threads = torch.get_num_threads()
    one = POINTS * channels * _whole(out_channels, x)
    parts = max(1, min(threads, MOST_PARTS // (one * x.element_size())))
    block, room = _room(x, out_channels, parts)
    sums = x.new_empty(parts, one)
    run("correlate", x.dtype, x, grad, sums, _shape(x), out_channels, block, parts, room)
    weight = x.new_empty(out_channels, channels, 3, 3)
    run("gather", x.dtype, sums, parts, channels, out_channels, threads, weight)
    return weight


def _turned(weight: Tensor) -> tuple[c_void_p, tuple[int, ...]]:
    """(O, C, 3, 3) as (C, O, 3, 3) turned by 180 degrees: where it begins, and its strides."""
    out, into, down, right = weight.stride()
    last = weight.data_ptr() + 2 * (down + right) * weight.element_size()
    return c_void_p(last), (into, out, -down, -right)


def _room(x: Tensor, out_channels: int, threads: int) -> tuple[int, Tensor]:
    """Tiles in a block, and what the threads' blocks are computed in."""
    tile = POINTS * (_whole(x.shape[1], x) + _whole(out_channels, x))
    block = max(FEWEST, ROOM // (tile * x.element_size()) // FEWEST * FEWEST)
    return block, x.new_empty(threads, block * tile)


def _tiles(height: int, width: int) -> int:
    return -(-height // TILE) * -(-width // TILE)


def _whole(channels: int, x: Tensor) -> int:
    """Channels that whole vectors have."""
    lanes = simd() // x.element_size()
    return -(-channels // lanes) * lanes


def _shape(x: Tensor) -> tuple[int, ...]:
    batch, channels, height, width = x.shape
    return batch, height, width, channels


def _meta_convolved(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    batch, _, height, width = x.shape
    out = x.new_empty(batch, height, width, weight.shape[1 if transposed else 0])
    return out.permute(0, 3, 1, 2)


def _meta_of_weight(x: Tensor, grad: Tensor) -> Tensor:
    return x.new_empty(grad.shape[1], x.shape[1], 3, 3)


_CONVOLVE = define(
    "conv3x3(Tensor x, Tensor weight, Tensor? bias, bool transposed) -> Tensor",
    _convolved, _meta_convolved,
)  # fmt: skip
_CONVOLVE_MOMENTS = define(
    "conv3x3_moments(Tensor x, Tensor weight, Tensor? bias, float eps) -> (Tensor, Tensor)",
    _convolved_moments,
    lambda x, weight, bias, eps: (
        _meta_convolved(x, weight, bias, False), x.new_empty(3, x.shape[0], weight.shape[0]),
    ),
)  # fmt: skip
_CORRELATE = define("conv3x3_weight(Tensor x, Tensor grad) -> Tensor", _of_weight, _meta_of_weight)
