"""S^H F^H M F S in chunks of coils, of which nothing is kept for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 20
"""Complex numbers worked on at once, so that a processor's cache holds them: 8 MiB."""


def normal(x_BSHW: Tensor, sens_BSCHW: Tensor, mask: Tensor, axes: tuple[int, ...]) -> Tensor:
    """S^H F^H M F S x with plain, uncentred transforms.

    All coils at once would hold several copies of multi-coil k-space, and plain autograd would keep
    some of them. Here each chunk of coils goes through on its own, forward as well as backward,
    where its transforms are computed again.

    Args:
        x_BSHW: Complex.
        sens_BSCHW: The maps, with the shifts of centred transforms folded in.
        mask: bool, broadcastable to the maps' shape, the same for all coils.
        axes: Axes to transform.

    Returns:
        (B, S, H, W) complex.
    """
    out: Tensor = _Normal.apply(x_BSHW, sens_BSCHW, mask, axes)  # type: ignore[no-untyped-call]
    return out


class _Normal(torch.autograd.Function):
    """With Q = F^H M F, which is its own adjoint, this is the sum over coils of conj(s) Q(s x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sens: Tensor, mask: Tensor, axes: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(x, sens, mask)
        ctx.axes = axes
        out = torch.zeros_like(x)
        for coils in _chunks(sens):
            out += _combined(coils, _filtered(coils * x.unsqueeze(2), mask, axes))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, sens, mask = ctx.saved_tensors
        of_x = torch.zeros_like(x)
        of_sens = torch.empty_like(sens) if ctx.needs_input_grad[1] else None
        slices = _chunks(sens) if of_sens is None else _chunks(of_sens)
        for coils, part in zip(_chunks(sens), slices, strict=True):
            back = _filtered(coils * grad.unsqueeze(2), mask, ctx.axes)
            if of_sens is not None:
                there = _filtered(coils * x.unsqueeze(2), mask, ctx.axes)
                torch.mul(back, x.conj().unsqueeze(2), out=part)
                part += there.mul_(grad.conj().unsqueeze(2))
            of_x += _combined(coils, back)
        return of_x, of_sens, None, None


def _chunks(sens_BSCHW: Tensor) -> Iterator[Tensor]:
    """Views of some coils at a time."""
    coil = sens_BSCHW[:, :, :1].numel()
    yield from torch.split(sens_BSCHW, max(1, CHUNK // max(coil, 1)), dim=2)


def _filtered(images: Tensor, mask: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Q of coil images."""
    kspace = torch.fft.fftn(images, dim=axes, norm="ortho").mul_(mask)
    return torch.fft.ifftn(kspace, dim=axes, norm="ortho")


def _combined(sens: Tensor, images: Tensor) -> Tensor:
    """The coil combination; the images are overwritten."""
    return images.mul_(sens.conj()).sum(2)
