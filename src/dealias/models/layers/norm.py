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
    last = _channels_last(x)
    lines, y = _lines(x, last), _lines(out, last)
    dtype = torch.promote_types(x.dtype, torch.float32)
    work = y if y.dtype == dtype else torch.empty_like(y, dtype=dtype)
    # centred first: the variance of data with a large mean would drown in its square;
    # and twice, as a large mean is itself rounded
    source = lines if work is y else work.copy_(lines)
    torch.sub(source, _spread(_mean(source, x.shape, last), x.shape, last), out=work)
    work.sub_(_spread(_mean(work, x.shape, last), x.shape, last))
    scale_NC = _mean(work * work, x.shape, last).add_(eps).rsqrt_()
    F.leaky_relu_(work.mul_(_spread(scale_NC, x.shape, last)), slope)
    if work is not y:
        y.copy_(work)
    return out, scale_NC


class _NormalisedLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, eps: float) -> Tensor:
        ctx.slope = slope
        out, scale_NC = _normalised(x, slope, eps, torch.empty_like(x))
        ctx.save_for_backward(out, scale_NC)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        out, scale_NC = ctx.saved_tensors
        last, shape = _channels_last(out), out.shape
        y, g = (_lines(one, last).to(scale_NC.dtype) for one in (out, grad))
        # on both sides of 0, g y is the gradient of the normalised times the normalised
        along, scale = (_spread(one, shape, last) for one in (_mean(g * y, shape, last), scale_NC))
        g = torch.ops.aten.leaky_relu_backward(g, y, ctx.slope, True)
        normalised = F.leaky_relu(y, 1 / ctx.slope)
        g = g.sub_(_spread(_mean(g, shape, last), shape, last))
        g = g.addcmul_(normalised, along, value=-1).mul_(scale)
        return _image(g.to(grad.dtype), shape, last), None, None


def _channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _lines(x: Tensor, last: bool) -> Tensor:
    """(N, H, WC) as channels-last memory has it, or (N, C, HW)."""
    if last:
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], x.shape[2], -1)
    return x.reshape(*x.shape[:2], -1)


def _mean(lines: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """Of each channel, (N, C)."""
    if not last:
        return lines.mean(2)
    batch, channels, height, width = shape
    if lines.is_cuda:
        return lines.reshape(batch, -1, channels).mean(1)
    # torch sums over channels-last pixels slowly; over lines a matrix product does, and as exactly
    weights = lines.new_full((1, height), 1 / height).expand(batch, 1, height)
    return torch.bmm(weights, lines).reshape(batch, width, channels).mean(1)


def _spread(one_NC: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """A number for each channel to what lines can be multiplied by, (N, 1, WC) or (N, C, 1)."""
    if not last:
        return one_NC.unsqueeze(2)
    batch, channels, _, width = shape
    return one_NC[:, None, None].expand(batch, 1, width, channels).reshape(batch, 1, -1)


def _image(lines: Tensor, shape: torch.Size, last: bool) -> Tensor:
    if last:
        return lines.reshape(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)
    return lines.reshape(shape)
