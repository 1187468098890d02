"""Combining coil images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rss(x: Tensor, coil_axis: int) -> Tensor:
    """Root of the sum of squared magnitudes over coils.

    Its gradient at 0 is 0, so an empty slice stays finite (torch.linalg.vector_norm's choice).

    Args:
        x: Coil images, complex or real.
        coil_axis: The axis C.

    Returns:
        Real, >= 0, without the coil axis.
    """
    out: Tensor = _Rss.apply(x, coil_axis)  # type: ignore[no-untyped-call]
    return out


class _Rss(torch.autograd.Function):
    """What torch.linalg.vector_norm gives, which takes 25 times as long for coils of a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coil_axis: int) -> Tensor:
        ctx.axis = coil_axis
        parts = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x.unsqueeze(-1)
        first, *others = parts.unbind(coil_axis if coil_axis >= 0 else coil_axis - 1)
        total = first.square()
        for one in others:
            total.addcmul_(one, one)
        norm = total.sum(-1).sqrt_()
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, norm = ctx.saved_tensors
        return x * divide(grad * (norm > 0), norm).unsqueeze(ctx.axis), None


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient that is 0 where the denominator is 0, and whose other values are untouched.

    Args:
        numerator: Real or complex; must be 0 wherever the denominator is.
        denominator: Real, broadcastable.

    Returns:
        numerator / denominator.
    """
    one = torch.ones((), dtype=denominator.dtype, device=denominator.device)
    return numerator / torch.where(denominator == 0, one, denominator)


def unit_maps(maps: Tensor, coil_axis: int) -> Tensor:
    """Maps over their root-sum-of-squares: of unit norm where there is a coil with signal, else 0.

    The same as `divide(maps, rss(maps))`, but the result and the norm are all that is kept for the
    backward pass, and the given maps may go.

    Args:
        maps: Complex.
        coil_axis: The axis C.

    Returns:
        Same shape.
    """
    out: Tensor = _UnitMaps.apply(maps, coil_axis)  # type: ignore[no-untyped-call]
    return out


class _UnitMaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, coil_axis: int) -> Tensor:
        ctx.axis = coil_axis
        norm = rss(maps, coil_axis).unsqueeze(coil_axis)
        out = divide(maps, norm)
        ctx.save_for_backward(out, norm)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out, norm = ctx.saved_tensors
        along = torch.linalg.vecdot(out, grad, dim=ctx.axis).real.unsqueeze(ctx.axis)
        # where the norm is 0, so is the gradient
        return divide((grad - out * along) * (norm > 0), norm), None


def combine(coil_images_BSCHW: Tensor, sens_BSCHW: Tensor) -> Tensor:
    """S^H z: coil images to one complex image (B, S, H, W)."""
    return torch.linalg.vecdot(sens_BSCHW, coil_images_BSCHW, dim=2)
