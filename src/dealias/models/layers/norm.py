"""Instance normalisation and LeakyReLU as one function that keeps its output alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-5
"""Added to the variance, as nn.InstanceNorm2d does."""


def normalised_leaky_relu_(x: Tensor, slope: float, eps: float = EPS) -> Tensor:
    """LeakyReLU of instance normalisation without affine parameters (Ulyanov et al. 2016).

    It is done in place; else it is F.leaky_relu(F.instance_norm(x), slope). Plain autograd keeps
    the input and the output for the backward pass; here the output takes the input's memory and is
    all that is kept, as LeakyReLU can be undone. Means and variances are float32 or better.

    Args:
        x: (N, C, H, W) real, contiguous or channels-last; overwritten, so no parameter, nor what
            another function keeps for its own backward pass.
        slope: Of negative values, above 0.
        eps: Added to the variance.

    Returns:
        x.
    """
    out: Tensor = _NormalisedLeakyReLU.apply(x, slope, eps)  # type: ignore[no-untyped-call]
    return out


class _NormalisedLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, eps: float) -> Tensor:
        ctx.slope, ctx.last = slope, _channels_last(x)
        pixels, axis = _pixels(x, ctx.last)
        y = pixels.to(torch.promote_types(x.dtype, torch.float32))
        # centred first: the variance of data with a large mean would drown in its square;
        # and twice, as a large mean is itself rounded
        for _ in range(2):
            y.sub_(y.mean(axis, keepdim=True))
        scale = (y * y).mean(axis, keepdim=True).add_(eps).rsqrt_()
        F.leaky_relu_(y.mul_(scale), slope)
        if y is not pixels:
            pixels.copy_(y)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, scale)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        out, scale = ctx.saved_tensors
        (y, axis), (g, _) = (_pixels(one, ctx.last) for one in (out, grad))
        y, g = y.to(scale.dtype), g.to(scale.dtype)
        # on both sides of 0, g y is the gradient of the normalised times the normalised
        along = (g * y).mean(axis, keepdim=True)
        g = torch.ops.aten.leaky_relu_backward(g, y, ctx.slope, True)
        normalised = F.leaky_relu(y, 1 / ctx.slope)
        g = g.sub_(g.mean(axis, keepdim=True)).addcmul_(normalised, along, value=-1).mul_(scale)
        return _image(g.to(grad.dtype), grad.shape, ctx.last), None, None


def _channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _pixels(x: Tensor, last: bool) -> tuple[Tensor, int]:
    """Pixels in one axis, and which: (N, HW, C) as channels-last memory has it, or (N, C, HW)."""
    if last:
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1]), 1
    return x.reshape(*x.shape[:2], -1), 2


def _image(pixels: Tensor, shape: torch.Size, last: bool) -> Tensor:
    if last:
        return pixels.reshape(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)
    return pixels.reshape(shape)
