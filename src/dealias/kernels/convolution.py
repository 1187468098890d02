"""3x3 convolutions on a CPU by Winograd's minimal filtering (Lavin and Gray 2016).

The same function with 36 products for a tile of 4x4 instead of 144. In float64 it agrees with
torch's to rounding; in float32 it is as far from that as torch's own is, within a factor of three.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_long
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealias.kernels.build import in_use, library, pointer

POINTS, TILE = 36, 4
ROOM = 1 << 19
"""Bytes of a core's cache that a block of tiles takes."""
FEWEST = 12
"""Tiles in a block: rows of a product that are held in registers together."""
MOST_PARTS = 64 << 20
"""Bytes that sums over tiles take that are made side by side."""
NARROW, WIDE = 8, 16
"""Channels on one side, and on the other, below which vectors would be too empty."""
TILES = 128
"""Below as many, transforming the weights costs what is gained."""
WORTH = 1 << 22
"""Products of a direct convolution below which calls cost what is gained."""

_LIBRARY = torch.library.Library("dealias", "DEF")
_LIBRARY.define("conv3x3(Tensor x, Tensor weight, Tensor? bias, bool transposed) -> Tensor")
_LIBRARY.define("conv3x3_weight(Tensor x, Tensor grad) -> Tensor")


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
    out: Tensor = _Conv3x3.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        out: Tensor = torch.ops.dealias.conv3x3(x, weight, bias, False)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.ops.dealias.conv3x3(grad, weight, None, True) if of_x else None,
            torch.ops.dealias.conv3x3_weight(x, grad) if of_weight else None,
            grad.sum((0, 2, 3)) if of_bias else None,
        )


def _tiles(height: int, width: int) -> int:
    return -(-height // TILE) * -(-width // TILE)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """The convolution; transposed, that of (N, O, H, W) which gives (N, C, H, W)."""
    kernels = _kernels(x)
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    start, strides = pointer(weight), list(weight.stride())
    out_channels = weight.shape[1 if transposed else 0]
    if transposed:
        last = 2 * (strides[2] + strides[3]) * weight.element_size()
        start.value = weight.data_ptr() + last
        strides = [strides[1], strides[0], -strides[2], -strides[3]]
    lanes, threads = kernels.lanes(), torch.get_num_threads()
    sizes = (c_long(channels), c_long(out_channels))
    spread = x.new_empty(POINTS, channels, _whole(out_channels, lanes))
    kernels.spread_weights(start, _longs(strides), *sizes, c_long(threads), pointer(spread))
    block, room = _room(x, out_channels, lanes, threads)
    out = x.new_empty(batch, height, width, out_channels)
    bias = None if bias is None else bias.contiguous()
    kernels.convolve(
        pointer(x), pointer(spread), pointer(bias), pointer(out), _shape(x), sizes[1],
        c_long(block), c_long(threads), pointer(room),
    )  # fmt: skip
    return out.permute(0, 3, 1, 2)


def _of_weight(x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of a convolution's weights (O, C, 3, 3), contiguous."""
    kernels = _kernels(x)
    x, grad = (one.contiguous(memory_format=torch.channels_last) for one in (x, grad))
    channels, out_channels = x.shape[1], grad.shape[1]
    lanes, threads = kernels.lanes(), torch.get_num_threads()
    one = POINTS * channels * _whole(out_channels, lanes)
    parts = max(1, min(threads, MOST_PARTS // (one * x.element_size())))
    block, room = _room(x, out_channels, lanes, parts)
    sums = x.new_empty(parts, one)
    sizes = (c_long(channels), c_long(out_channels))
    kernels.correlate(
        pointer(x), pointer(grad), pointer(sums), _shape(x), sizes[1],
        c_long(block), c_long(parts), pointer(room),
    )  # fmt: skip
    weight = x.new_empty(out_channels, channels, 3, 3)
    kernels.gather(pointer(sums), c_long(parts), *sizes, c_long(threads), pointer(weight))
    return weight


def _room(x: Tensor, out_channels: int, lanes: int, threads: int) -> tuple[int, Tensor]:
    """Tiles in a block, and what the threads' blocks are computed in."""
    tile = POINTS * (_whole(x.shape[1], lanes) + _whole(out_channels, lanes))
    block = max(FEWEST, ROOM // (tile * x.element_size()) // FEWEST * FEWEST)
    return block, x.new_empty(threads, block * tile)


def _whole(channels: int, lanes: int) -> int:
    return -(-channels // lanes) * lanes


def _kernels(x: Tensor) -> Any:
    found = library(x.dtype)
    assert found is not None
    return found


def _longs(values: Sequence[int]) -> Any:
    return (c_long * len(values))(*values)


def _shape(x: Tensor) -> Any:
    return _longs([x.shape[0], x.shape[2], x.shape[3], x.shape[1]])


def _meta_convolved(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    batch, _, height, width = x.shape
    out = x.new_empty(batch, height, width, weight.shape[1 if transposed else 0])
    return out.permute(0, 3, 1, 2)


def _meta_of_weight(x: Tensor, grad: Tensor) -> Tensor:
    return x.new_empty(grad.shape[1], x.shape[1], 3, 3)


for _name, _real, _meta in (
    ("conv3x3", _convolved, _meta_convolved),
    ("conv3x3_weight", _of_weight, _meta_of_weight),
):
    _LIBRARY.impl(_name, _real, "CPU")
    _LIBRARY.impl(_name, _meta, "Meta")
