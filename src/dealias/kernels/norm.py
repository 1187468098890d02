"""Instance normalisation with LeakyReLU on a CPU, in as few passes over memory as it can be done.

The function and the gradient of `models.layers.norm`, whose words hold here.
"""

from __future__ import annotations

from ctypes import c_double, c_long
from typing import Any

import torch
from torch import Tensor

from dealias.kernels.build import in_use, library, pointer

WORTH = 1 << 15
"""Numbers below which calls cost what is gained."""
_PIECE = 8192
"""As in norm.c: the least that a piece has, in numbers, but for the last of an image."""
_LIBRARY = torch.library.Library("dealias", "FRAGMENT")
_LIBRARY.define("moments(Tensor x, float eps) -> Tensor")
_LIBRARY.define("activate(Tensor x, Tensor moments, float slope) -> Tensor")
_LIBRARY.define("activate_(Tensor(a!) x, Tensor moments, float slope) -> Tensor(a!)")
_LIBRARY.define("activate_gradient(Tensor grad, Tensor y, Tensor moments, float slope) -> Tensor")


def suits(x: Tensor) -> bool:
    """Whether images (N, C, H, W) are normalised here: many numbers, channels last in memory."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return last and x.numel() >= WORTH and in_use(x)


def moments(x: Tensor, eps: float) -> Tensor:
    """(3, N, C): means, what is lost by rounding them, and 1 over standard deviations."""
    found: Tensor = torch.ops.dealias.moments(x, eps)
    return found


def activate(x: Tensor, found: Tensor, slope: float, inplace: bool = False) -> Tensor:
    """LeakyReLU of x normalised by its moments; the slope is between 0 and 1."""
    run = torch.ops.dealias.activate_ if inplace else torch.ops.dealias.activate
    out: Tensor = run(x, found, slope)
    return out


def activate_gradient(grad: Tensor, y: Tensor, found: Tensor, slope: float) -> Tensor:
    """The gradient of what y was made from, moments included; the slope is not 0."""
    out: Tensor = torch.ops.dealias.activate_gradient(grad, y, found, slope)
    return out


def _moments(x: Tensor, eps: float) -> Tensor:
    kernels, sizes = _kernels(x), _sizes(x)
    found, room = x.new_empty(3, *x.shape[:2]), _room(x)
    kernels.moments(
        pointer(x), *sizes, c_double(eps), _threads(), pointer(room), pointer(found)
    )
    return found


def _activate(x: Tensor, found: Tensor, slope: float) -> Tensor:
    return _activated(x, found, slope, torch.empty_like(x))


def _activate_(x: Tensor, found: Tensor, slope: float) -> Tensor:
    return _activated(x, found, slope, x)


def _activated(x: Tensor, found: Tensor, slope: float, out: Tensor) -> Tensor:
    sizes = _sizes(x)
    _kernels(x).activate(
        pointer(x), pointer(found), c_double(slope), *sizes, _threads(), pointer(out)
    )
    return out


def _activate_gradient(grad: Tensor, y: Tensor, found: Tensor, slope: float) -> Tensor:
    grad = grad.contiguous(memory_format=torch.channels_last)
    out, room = torch.empty_like(y), _room(y)
    _kernels(y).activate_gradient(
        pointer(grad), pointer(y), pointer(found), c_double(slope), *_sizes(y), _threads(),
        pointer(room), pointer(out),
    )  # fmt: skip
    return out


def _kernels(x: Tensor) -> Any:
    found = library(x.dtype)
    assert found is not None
    return found


def _sizes(x: Tensor) -> tuple[c_long, c_long, c_long]:
    batch, channels, height, width = x.shape
    return c_long(batch), c_long(height * width), c_long(channels)


def _threads() -> c_long:
    return c_long(torch.get_num_threads())


def _room(x: Tensor) -> Tensor:
    """Two sums of each channel and piece."""
    pieces = x.shape[1:].numel() // _PIECE + 1
    return torch.empty(x.shape[0], pieces, x.shape[1], 2, dtype=torch.float64)


_LIBRARY.impl("moments", _moments, "CPU")
_LIBRARY.impl("activate", _activate, "CPU")
_LIBRARY.impl("activate_", _activate_, "CPU")
_LIBRARY.impl("activate_gradient", _activate_gradient, "CPU")
_LIBRARY.impl("moments", lambda x, eps: x.new_empty(3, *x.shape[:2]), "Meta")
_LIBRARY.impl("activate", lambda x, found, slope: torch.empty_like(x), "Meta")
_LIBRARY.impl("activate_", lambda x, found, slope: x, "Meta")
_LIBRARY.impl("activate_gradient", lambda grad, y, found, slope: torch.empty_like(y), "Meta")
