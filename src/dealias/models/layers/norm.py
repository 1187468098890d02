"""Instance normalisation and the activation after it as one function that keeps little."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealias.kernels import norm as kernels
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.lines import dense, image, is_last, lines, mean, mean_product, spread

EPS = 1e-5
"""Added to the variance, as nn.InstanceNorm2d does."""
Activation = float | Literal["silu"]
"""LeakyReLU, by the slope of its negative values; or SiLU."""
NONE, RELU = 1.0, 0.0
SILU: Literal["silu"] = "silu"


def instance_norm(x: Tensor) -> Tensor:
    """Each channel of each item minus its mean, over its standard deviation (Ulyanov et al. 2016).

    Means and variances are float32 or better. For the backward pass the output alone is kept.

    Args:
        x: (N, C, H, W) real, contiguous or channels-last, which the output is as well.

    Returns:
        Same shape and dtype.
    """
    x = dense(x)
    if kernels.suits(x):
        return kernels.normalised(x, NONE, EPS, overwrite=False)
    if torch.is_grad_enabled() and x.requires_grad:
        return _kept_for_gradients(x, NONE, None, None, None)
    out = torch.empty_like(x)
    _run(x, NONE, (None, None, None), out, out)
    return out


def normalised_activation(
    x: Tensor,
    activation: Activation,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    added: Tensor | None = None,
) -> Tensor:
    """The activation of weight * instance_norm(x) + bias + added.

    Plain autograd keeps for the backward pass what goes into each step. This keeps its output
    alone, from which all else follows, where nothing is multiplied or added and the slope is not 0;
    else what is normalised, and nothing in between. Means and variances are float32 or better.

    Args:
        x: (N, C, H, W) real, contiguous or channels-last, which the output is as well. It is
            overwritten where no gradient is asked for.
        activation: `NONE`, `RELU`, `SILU`, or the slope of LeakyReLU's negative values.
        weight: (C,), with a bias.
        bias: (C,).
        added: What an image is the residual of, of the shape of x.

    Returns:
        Same shape and dtype.
    """
    x = dense(x)
    given = (x, weight, bias, added)
    graded = torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in given)
    if _kernels_suit(activation, weight, added, graded) and kernels.suits(x):
        return kernels.normalised(x, float(activation), EPS)
    if graded:
        return _kept_for_gradients(x, activation, weight, bias, added)
    _run(x, activation, (weight, bias, added), x, x)
    return x


def normalised_convolution(convolution: Conv2d, x: Tensor, activation: Activation) -> Tensor:
    """normalised_activation(convolution(x), activation).

    Our kernels find means and variances while they convolve.
    """
    graded = torch.is_grad_enabled()
    if not (_kernels_suit(activation, None, None, graded) and convolution.suits_kernels(x)):
        return normalised_activation(convolution(x), activation)
    y, found = convolution.with_moments(x, EPS)
    return kernels.normalised(y, float(activation), EPS, found)


def _kernels_suit(
    activation: Activation, weight: Tensor | None, added: Tensor | None, graded: bool
) -> bool:
    """Whether our kernels have this function, or with its gradient."""
    if weight is not None or added is not None or activation == SILU:
        return False
    return 0 <= float(activation) <= 1 and (activation != RELU or not graded)


After = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Weight, bias and what is added."""


def _kept_for_gradients(x: Tensor, activation: Activation, *after: Tensor | None) -> Tensor:
    out: Tensor = _NormalisedActivation.apply(x, activation, *after)  # type: ignore[no-untyped-call]
    return out


class _NormalisedActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Activation, *after: Tensor | None) -> Tensor:
        weight, bias, added = after
        ctx.activation, ctx.whole = activation, _invertible(activation, weight, added)
        out = torch.empty_like(x)
        middle = out if ctx.whole else torch.empty_like(x)
        scale_NC = _run(x, activation, (weight, bias, added), middle, out)
        ctx.save_for_backward(middle, scale_NC, *after)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, scale_NC, weight, bias, added = ctx.saved_tensors
        shape, last = kept.shape, is_last(kept)
        y, g = (lines(one, last).to(scale_NC.dtype) for one in (kept, grad))
        if ctx.whole:
            # on both sides of 0, g y is the gradient of the normalised times the normalised
            along_NC = mean_product(g, y, shape, last)
            g, y = _undone(g, y, ctx.activation)
            free = None if ctx.activation == NONE else y
        else:
            g = _before_activation(g, y, ctx.activation, (weight, bias, added), shape, last)
            free = g * y
            along_NC = mean(free, shape, last)
        level_NC = mean(g, shape, last)
        of_weight, of_bias = (_summed(one, shape, weight) for one in (along_NC, level_NC))
        if weight is not None:
            scale_NC = scale_NC * weight.to(scale_NC.dtype)
        # what the means and the deviations of x take away
        level, along, scale = (
            spread(one, shape, last)
            for one in (-scale_NC * level_NC, -scale_NC * along_NC, scale_NC)
        )
        found = torch.addcmul(level, y, along, out=free).addcmul_(g, scale)
        of_added = None if added is None else image(g.to(added.dtype), shape, last)
        return image(found.to(grad.dtype), shape, last), None, of_weight, of_bias, of_added


def _invertible(activation: Activation, weight: Tensor | None, added: Tensor | None) -> bool:
    """Whether what goes in follows from what comes out, whatever the parameters are."""
    return weight is None and added is None and activation not in (RELU, SILU)


def _run(x: Tensor, activation: Activation, after: After, middle: Tensor, out: Tensor) -> Tensor:
    """Write what is normalised into `middle` and the result into `out`.

    The two may be one where the first is not needed; both may be x.

    Returns:
        1 over the standard deviations, (N, C).
    """
    shape, last = x.shape, is_last(x)
    exact = torch.promote_types(x.dtype, torch.float32)
    work = lines(middle, last)
    y = work if middle is out else lines(out, last)
    if x.dtype != exact:
        work = y = torch.empty_like(work, dtype=exact)
    scale_NC = _standardise(lines(x, last), work, shape, last)
    if middle is not out and x.dtype != exact:
        lines(middle, last).copy_(work)
    _activate(_affine(work, after, shape, last, y), activation, y)
    if x.dtype != exact:
        lines(out, last).copy_(y)
    return scale_NC


def _standardise(source: Tensor, work: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """Lines minus their channels' means, over the standard deviations, into `work`."""
    if source.dtype != work.dtype:
        source = work.copy_(source)
    # centred first: the variance of data with a large mean would drown in its square
    torch.sub(source, spread(mean(source, shape, last), shape, last), out=work)
    # a large mean is itself rounded, and some of it left
    left_NC = mean(work, shape, last)
    variance_NC = mean_product(work, work, shape, last).sub_(left_NC.square()).clamp_(min=0)
    scale_NC = variance_NC.add_(EPS).rsqrt_()
    term, factor = (spread(one, shape, last) for one in (-left_NC * scale_NC, scale_NC))
    torch.addcmul(term, work, factor, out=work)
    return scale_NC


def _affine(n: Tensor, after: After, shape: torch.Size, last: bool, out: Tensor) -> Tensor:
    """Weight * n + bias + added, in `out`; n itself where there is nothing to do."""
    weight, bias, added = after
    if weight is not None and bias is not None:
        factor, term = (spread(one.to(n.dtype)[None], shape, last) for one in (weight, bias))
        n = torch.addcmul(term, n, factor, out=out)
    return n if added is None else torch.add(n, lines(added, last), out=out)


def _activate(z: Tensor, activation: Activation, out: Tensor) -> None:
    if activation == RELU:
        torch.clamp(z, min=0, out=out)
        return
    if out is not z:
        out.copy_(z)
    if activation == SILU:
        F.silu(out, inplace=True)
    elif activation != NONE:
        F.leaky_relu_(out, float(activation))


def _undone(g: Tensor, y: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """From the output's gradient and the output to those of what is normalised."""
    if activation == NONE:
        return g, y
    slope = float(activation)
    return torch.ops.aten.leaky_relu_backward(g, y, slope, True), F.leaky_relu(y, 1 / slope)


def _before_activation(
    g: Tensor, n: Tensor, activation: Activation, after: After, shape: torch.Size, last: bool
) -> Tensor:
    """The gradient of what goes into the activation, which is computed again."""
    if activation == NONE:
        return g
    alone = after[0] is None and after[2] is None
    z = n if alone else _affine(n, after, shape, last, torch.empty_like(n))
    if activation == SILU:
        return torch.ops.aten.silu_backward(g, z)
    return torch.ops.aten.leaky_relu_backward(g, z, float(activation), False)


def _summed(mean_NC: Tensor, shape: torch.Size, weight: Tensor | None) -> Tensor | None:
    """The gradient of a channel's weight or bias from means over pixels."""
    if weight is None:
        return None
    return (mean_NC.sum(0) * (shape[-2] * shape[-1])).to(weight.dtype)
