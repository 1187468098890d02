"""Sums over coils of SENSE, some coils at a time, of which nothing is kept for the backward pass.

All coils at once would hold several copies of multi-coil k-space, and plain autograd would keep
some of them. Here each chunk of coils goes through on its own, forward as well as backward, where
its transforms are computed again. Transforms are plain ones, without the shifts of centred ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 20
"""Complex numbers worked on at once, so that a processor's cache holds them: 8 MiB."""
Axes = tuple[int, ...]


def normal(x_BSHW: Tensor, sens_BSCHW: Tensor, mask: Tensor, axes: Axes) -> Tensor:
    """S^H F^H M F S x.

    Args:
        x_BSHW: Complex.
        sens_BSCHW: The maps S.
        mask: bool, broadcastable to the maps' shape, the same for all coils.
        axes: Axes to transform.

    Returns:
        (B, S, H, W) complex.
    """
    out: Tensor = _Normal.apply(x_BSHW, sens_BSCHW, mask, axes)  # type: ignore[no-untyped-call]
    return out


def adjoint(y_BSCHW: Tensor, sens_BSCHW: Tensor, weight: Tensor, axes: Axes) -> Tensor:
    """S^H F^H (weight y).

    Args:
        y_BSCHW: k-space, complex.
        sens_BSCHW: The maps S.
        weight: Complex, broadcastable to the maps' shape, the same for all coils.
        axes: Axes to transform.

    Returns:
        (B, S, H, W) complex.
    """
    out: Tensor = _Adjoint.apply(y_BSCHW, sens_BSCHW, weight, axes)  # type: ignore[no-untyped-call]
    return out


def by_coils(*tensors_BSCHW: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of some coils at a time of tensors of one shape."""
    coil = tensors_BSCHW[0][:, :, :1].numel()
    size = max(1, CHUNK // max(coil, 1))
    yield from zip(*(torch.split(one, size, dim=2) for one in tensors_BSCHW), strict=True)


class _Normal(torch.autograd.Function):
    """With Q = F^H M F, which is its own adjoint, this is the sum over coils of conj(s) Q(s x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sens: Tensor, mask: Tensor, axes: Axes) -> Tensor:
        ctx.save_for_backward(x, sens, mask)
        ctx.axes = axes
        out = torch.zeros_like(x)
        for (coils,) in by_coils(sens):
            out += _combined(coils, _filtered(coils * x.unsqueeze(2), mask, axes))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, sens, mask = ctx.saved_tensors
        of_x = torch.zeros_like(x)
        learned = ctx.needs_input_grad[1]
        of_sens = torch.empty_like(sens) if learned else sens
        for coils, part in by_coils(sens, of_sens):
            back = _filtered(coils * grad.unsqueeze(2), mask, ctx.axes)
            if learned:
                there = _filtered(coils * x.unsqueeze(2), mask, ctx.axes)
                torch.mul(back, x.conj().unsqueeze(2), out=part)
                part += there.mul_(grad.conj().unsqueeze(2))
            of_x += _combined(coils, back)
        return of_x, of_sens if learned else None, None, None


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, sens: Tensor, weight: Tensor, axes: Axes) -> Tensor:
        ctx.save_for_backward(y, sens, weight)
        ctx.axes = axes
        out = torch.zeros_like(sens[:, :, 0])
        for kspace, coils in by_coils(y, sens):
            out += _combined(coils, torch.fft.ifftn(kspace * weight, dim=axes, norm="ortho"))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        y, sens, weight = ctx.saved_tensors
        of_y, of_sens = (
            torch.empty_like(one) if needed else None
            for one, needed in zip((y, sens), ctx.needs_input_grad, strict=False)
        )
        if of_y is not None:
            for coils, part in by_coils(sens, of_y):
                images = coils * grad.unsqueeze(2)
                spectrum = torch.fft.fftn(images, dim=ctx.axes, norm="ortho")
                torch.mul(spectrum, weight.conj(), out=part)
        if of_sens is not None:
            for kspace, part in by_coils(y, of_sens):
                images = torch.fft.ifftn(kspace * weight, dim=ctx.axes, norm="ortho")
                torch.mul(images, grad.conj().unsqueeze(2), out=part)
        return of_y, of_sens, None, None


def _filtered(images: Tensor, mask: Tensor, axes: Axes) -> Tensor:
    """Q of coil images."""
    kspace = torch.fft.fftn(images, dim=axes, norm="ortho").mul_(mask)
    return torch.fft.ifftn(kspace, dim=axes, norm="ortho")


def _combined(sens: Tensor, images: Tensor) -> Tensor:
    """The coil combination; the images are overwritten."""
    return images.mul_(sens.conj()).sum(2)
