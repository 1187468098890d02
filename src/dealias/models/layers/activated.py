"""A convolution of what an activation gives, which is computed again for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealias.kernels.convolution import conv3x3, conv3x3_gradients
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.lines import is_last, lines


def prelu_convolution(x: Tensor, slope: Tensor, convolution: Conv2d) -> Tensor:
    """convolution(PReLU(x)).

    Plain autograd keeps x and PReLU's output; this keeps x alone.

    Args:
        x: (N, in, H, W) real.
        slope: Of negative values, one element, of any sign.
        convolution: Without bias, and as many groups as one.

    Returns:
        (N, out, H', W').
    """
    settings = (convolution.stride, convolution.padding, convolution.dilation)
    given = (x, slope.to(x.dtype), convolution.weight.to(x.dtype), convolution.suits_kernels(x))
    out: Tensor = _PReLUConvolution.apply(*given, *settings)  # type: ignore[no-untyped-call]
    return out


class _PReLUConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, slope: Tensor, weight: Tensor, kernels: bool, *settings: Any
    ) -> Tensor:
        ctx.save_for_backward(x, slope, weight)
        ctx.kernels, ctx.settings = kernels, settings
        active = F.prelu(x, slope)
        return conv3x3(active, weight) if kernels else F.conv2d(active, weight, None, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, slope, weight = ctx.saved_tensors
        active = F.prelu(x, slope)
        if ctx.kernels:
            of_active, of_weight = conv3x3_gradients(grad, active, weight)
        else:
            of_active, of_weight, _ = torch.ops.aten.convolution_backward(
                grad, active, weight, None, *ctx.settings, False, (0, 0), 1, (True, True, False)
            )
        last = is_last(x)
        negative = lines(x.clamp(max=0), last)
        # a sum over the whole image wants float32; torch's own way takes five times as long
        exact = torch.promote_types(x.dtype, torch.float32)
        g = lines(of_active, last).to(exact).flatten()
        of_slope = torch.dot(g, negative.to(exact).flatten()).reshape(1).to(slope.dtype)
        of_x = torch.where(x > 0, of_active, of_active * slope)
        return of_x, of_slope, of_weight, None, None, None, None
