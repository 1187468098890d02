"""Instance normalisation with LeakyReLU on a CPU, in as few passes over memory as it can be done.

The function and the gradient of `models.layers.norm`, whose words hold here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.kernels.build import in_use
from dealias.kernels.operations import define, run

WORTH = 1 << 15
"""Numbers below which calls cost what is gained."""
_PIECE = 8192
"""As in norm.c: the least that a piece has, in numbers, but for the last of an image."""


def suits(x: Tensor) -> bool:
    """Whether images (N, C, H, W) are normalised here: many numbers, channels last in memory."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return last and x.numel() >= WORTH and in_use(x)


def moments(x: Tensor, eps: float) -> Tensor:
    """(3, N, C): means, what is lost by rounding them, and 1 over standard deviations."""
    found: Tensor = _MOMENTS(x, eps)
    return found


def activate(x: Tensor, found: Tensor, slope: float, inplace: bool = False) -> Tensor:
    """LeakyReLU of x normalised by its moments; the slope is between 0 and 1."""
    out: Tensor = _ACTIVATE_(x, found, slope) if inplace else _ACTIVATE(x, found, slope)
    return out


def activate_gradient(grad: Tensor, y: Tensor, found: Tensor, slope: float) -> Tensor:
    """The gradient of what y was made from, moments included; the slope is not 0."""
    out: Tensor = _ACTIVATE_GRADIENT(grad, y, found, slope)
    return out


def _moments(x: Tensor, eps: float) -> Tensor:
    found = x.new_empty(3, *x.shape[:2])
    run("moments", x.dtype, x, *_sizes(x), eps, torch.get_num_threads(), _room(x), found)
    return found


def _activate(x: Tensor, found: Tensor, slope: float) -> Tensor:
    return _activated(x, found, slope, torch.empty_like(x))


def _activate_(x: Tensor, found: Tensor, slope: float) -> Tensor:
    return _activated(x, found, slope, x)


def _activated(x: Tensor, found: Tensor, slope: float, out: Tensor) -> Tensor:
    run("activate", x.dtype, x, found, slope, *_sizes(x), torch.get_num_threads(), out)
    return out


def _activate_gradient(grad: Tensor, y: Tensor, found: Tensor, slope: float) -> Tensor:
    grad = grad.contiguous(memory_format=torch.channels_last)
    out, threads = torch.empty_like(y), torch.get_num_threads()
    given = (grad, y, found, slope, *_sizes(y), threads, _room(y), out)
    run("activate_gradient", y.dtype, *given)
    return out


def _sizes(x: Tensor) -> tuple[int, int, int]:
    batch, channels, height, width = x.shape
    return batch, height * width, channels


def _room(x: Tensor) -> Tensor:
    """Two sums of each channel and piece."""
    pieces = x.shape[1:].numel() // _PIECE + 1
    return torch.empty(x.shape[0], pieces, x.shape[1], 2, dtype=torch.float64)


_MOMENTS = define(
    "moments(Tensor x, float eps) -> Tensor",
    _moments, lambda x, eps: x.new_empty(3, *x.shape[:2]),
)  # fmt: skip
_ACTIVATE = define(
    "activate(Tensor x, Tensor moments, float slope) -> Tensor",
    _activate, lambda x, found, slope: torch.empty_like(x),
)  # fmt: skip
_ACTIVATE_ = define(
    "activate_(Tensor(a!) x, Tensor moments, float slope) -> Tensor(a!)",
    _activate_, lambda x, found, slope: x,
)  # fmt: skip
_ACTIVATE_GRADIENT = define(
    "activate_gradient(Tensor grad, Tensor y, Tensor moments, float slope) -> Tensor",
    _activate_gradient, lambda grad, y, found, slope: torch.empty_like(y),
)  # fmt: skip
