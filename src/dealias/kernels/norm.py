"""Instance normalisation with LeakyReLU on a CPU, in as few passes over memory as it can be done.

The function and the gradient of `models.layers.norm`, whose words hold here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealias.kernels.build import in_use
from dealias.kernels.operations import MOMENT, define, run

WORTH = 1 << 15
"""Numbers below which calls cost what is gained."""
_PIECE = 8192
"""As in norm.c: the least that a piece has, in numbers, but for the last of an image."""


def suits(x: Tensor) -> bool:
    """Whether images (N, C, H, W) are normalised here: many numbers, channels last in memory."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return last and x.numel() >= WORTH and in_use(x)


def normalised(
    x: Tensor, slope: float, eps: float, found: Tensor | None = None, overwrite: bool = True
) -> Tensor:
    """LeakyReLU of instance-normalised images that suit; for gradients the result alone is kept.

    Args:
        x: (N, C, H, W); overwritten if that is allowed and no gradient is asked for.
        slope: Of negative values, between 0 and 1; where a gradient is asked for, not 0.
        eps: Added to variances.
        found: The moments of x, if they are known.
        overwrite: Whether x may be.

    Returns:
        (N, C, H, W), channels last.
    """
    out: Tensor
    if torch.is_grad_enabled() and x.requires_grad:
        out = _Normalised.apply(x, slope, eps, found)  # type: ignore[no-untyped-call]
    else:
        found = _MOMENTS(x, eps) if found is None else found
        out = (_ACTIVATE_ if overwrite else _ACTIVATE)(x, found, slope)
    return out


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, eps: float, found: Tensor | None) -> Tensor:
        found = _MOMENTS(x, eps) if found is None else found
        out: Tensor = _ACTIVATE(x, found, slope)
        ctx.slope = slope
        ctx.save_for_backward(out, found)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _ACTIVATE_GRADIENT(grad, *ctx.saved_tensors, ctx.slope), None, None, None


def _moments(x: Tensor, eps: float) -> Tensor:
    found, room = x.new_empty(3, *x.shape[:2]), _room(x, MOMENT)
    run("moments", x.dtype, x, *_sizes(x), eps, torch.get_num_threads(), room, found)
    return found


def _activate(x: Tensor, found: Tensor, slope: float) -> Tensor:
    return _activated(x, found, slope, torch.empty_like(x))


def _activate_(x: Tensor, found: Tensor, slope: float) -> Tensor:
    # else autograd would take what it kept of x for what it was
    torch.autograd.graph.increment_version(x)
    return _activated(x, found, slope, x)


def _activated(x: Tensor, found: Tensor, slope: float, out: Tensor) -> Tensor:
    run("activate", x.dtype, x, found, slope, *_sizes(x), torch.get_num_threads(), out)
    return out


def _activate_gradient(grad: Tensor, y: Tensor, found: Tensor, slope: float) -> Tensor:
    grad = grad.contiguous(memory_format=torch.channels_last)
    out, threads = torch.empty_like(y), torch.get_num_threads()
    given = (grad, y, found, slope, *_sizes(y), threads, _room(y, 2), out)
    run("activate_gradient", y.dtype, *given)
    return out


def _sizes(x: Tensor) -> tuple[int, int, int]:
    batch, channels, height, width = x.shape
    return batch, height * width, channels


def _room(x: Tensor, numbers: int) -> Tensor:
    """For some doubles of each channel and piece."""
    pieces = x.shape[1:].numel() // _PIECE + 1
    return torch.empty(x.shape[0], pieces, x.shape[1], numbers, dtype=torch.float64)


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
