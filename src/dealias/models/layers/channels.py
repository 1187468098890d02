"""What all pixels of a channel share: their mean, and a factor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealias.models.layers.lines import dense, image, is_last, lines, mean, spread


def channel_means(x: Tensor) -> Tensor:
    """Means over all pixels, float32 or better inside.

    Args:
        x: (N, C, H, W) real.

    Returns:
        (N, C, 1, 1), of the same dtype.
    """
    out: Tensor = _ChannelMeans.apply(x)  # type: ignore[no-untyped-call]
    return out


def gated_sum(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """X + gate * y.

    Args:
        x: (N, C, H, W) real.
        y: The same.
        gate: (N, C, 1, 1), of the same dtype.

    Returns:
        (N, C, H, W).
    """
    out: Tensor = _GatedSum.apply(x, y, gate)  # type: ignore[no-untyped-call]
    return out


class _ChannelMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return _mean(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (grad / (ctx.shape[-2] * ctx.shape[-1])).expand(ctx.shape)


class _GatedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(y, gate)
        y = dense(y)
        shape, last = y.shape, is_last(y)
        out = torch.empty_like(y)
        factor = spread(gate[:, :, 0, 0], shape, last)
        torch.addcmul(lines(x, last), lines(y, last), factor, out=lines(out, last))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, gate = ctx.saved_tensors
        y = dense(y)
        shape, last = y.shape, is_last(y)
        g = lines(grad, last)
        of_gate = _mean(image(g * lines(y, last), shape, last)) * (shape[-2] * shape[-1])
        of_y = image(g * spread(gate[:, :, 0, 0], shape, last), shape, last)
        return grad, of_y, of_gate


def _mean(x: Tensor) -> Tensor:
    x = dense(x)
    last = is_last(x)
    exact = torch.promote_types(x.dtype, torch.float32)
    return mean(lines(x, last).to(exact), x.shape, last)[..., None, None].to(x.dtype)
