"""Instance normalisation and LeakyReLU as one function that keeps its output alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-5
"""Added to the variance, as nn.InstanceNorm2d does."""


def normalised_leaky_relu(x: Tensor, slope: float, eps: float = EPS) -> Tensor:
    """LeakyReLU of instance normalisation without affine parameters (Ulyanov et al. 2016).

    The same function as F.leaky_relu(F.instance_norm(x), slope). Plain autograd keeps the input and
    the output for the backward pass; this keeps the output, from which both follow, as LeakyReLU
    can be undone. Means and variances are float32 or better.

    Args:
        x: (N, C, H, W) real, contiguous or channels-last, which the output is as well. It is
            overwritten where no gradient is asked for.
        slope: Of negative values, above 0.
        eps: Added to the variance.

    Returns:
        Same shape and dtype.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _normalised(x, slope, eps, x)[0]
    out: Tensor = _NormalisedLeakyReLU.apply(x, slope, eps)  # type: ignore[no-untyped-call]
    return out


def _normalised(x: Tensor, slope: float, eps: float, out: Tensor) -> tuple[Tensor, Tensor]:
    """The result, written into `out`, which may be x, and 1 over the standard deviations."""
    (pixels, axis), (y, _) = (_pixels(one, _channels_last(x)) for one in (x, out))
    dtype = torch.promote_types(x.dtype, torch.float32)
    work = y if y.dtype == dtype else torch.empty_like(y, dtype=dtype)
    # centred first: the variance of data with a large mean would drown in its square;
    # and twice, as a large mean is itself rounded
    torch.sub(pixels, pixels.mean(axis, keepdim=True, dtype=dtype), out=work)
    work.sub_(work.mean(axis, keepdim=True))
    scale = (work * work).mean(axis, keepdim=True).add_(eps).rsqrt_()
    F.leaky_relu_(work.mul_(scale), slope)
    if work is not y:
        y.copy_(work)
    return out, scale


class _NormalisedLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, eps: float) -> Tensor:
        ctx.slope, ctx.last = slope, _channels_last(x)
        out, scale = _normalised(x, slope, eps, torch.empty_like(x))
        ctx.save_for_backward(out, scale)
        return out

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
