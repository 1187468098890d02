"""Instance normalisation and LeakyReLU in one, against torch's own two."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dealias.models.layers.norm import normalised_leaky_relu

SLOPE = 0.2
FORMATS = [torch.contiguous_format, torch.channels_last]
in_both_formats = pytest.mark.parametrize("memory_format", FORMATS, ids=["NCHW", "NHWC"])


def plain(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(F.instance_norm(x), SLOPE)


def ours(x: torch.Tensor) -> torch.Tensor:
    return normalised_leaky_relu(x, SLOPE)


def images(dtype: torch.dtype, shape: tuple[int, ...] = (2, 5, 9, 14)) -> torch.Tensor:
    rng = torch.Generator().manual_seed(7)
    scale = torch.tensor([1e-3, 1, 30, 1e4, 2], dtype=torch.float64)[:, None, None]
    return (torch.randn(shape, dtype=torch.float64, generator=rng) * scale + 3 * scale).to(dtype)


@in_both_formats
def test_values_and_gradients_are_those_of_the_two(memory_format: torch.memory_format) -> None:
    x = images(torch.float64).contiguous(memory_format=memory_format)
    towards = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(8))
    results = []
    for function in (plain, ours):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        (grad,) = torch.autograd.grad(out, leaf, towards)
        results.append((out.detach(), grad))
    for found, wanted in zip(results[1], results[0], strict=True):
        assert found.is_contiguous(memory_format=memory_format)
        # each channel has a scale of its own, and so has its gradient
        size = wanted.abs().amax((2, 3), keepdim=True)
        assert float(((found - wanted) / size).abs().max()) < 1e-10


@in_both_formats
def test_gradients_that_are_slices_of_larger_ones(memory_format: torch.memory_format) -> None:
    """As where the output was joined with another along the channels."""
    x = images(torch.float64).contiguous(memory_format=memory_format)
    grads = []
    for function in (plain, ours):
        leaf = x.clone().requires_grad_()
        torch.cat([function(leaf), leaf], 1).pow(3).sum().backward()
        grads.append(leaf.grad)
    assert torch.allclose(grads[0], grads[1], rtol=1e-10)


@in_both_formats
@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_a_large_mean_costs_no_more_than_the_input_has_lost(
    mean: float, memory_format: torch.memory_format
) -> None:
    rng = torch.Generator().manual_seed(9)
    x = (mean + torch.randn(1, 4, 120, 130, dtype=torch.float64, generator=rng)).float()
    found = ours(x.clone(memory_format=memory_format)).double()
    # of the rounded input, exactly; its rounding is 6e-8 of the mean
    assert float((found - plain(x.double())).abs().max()) < 5e-6 + 6e-8 * mean


def test_only_the_output_is_kept() -> None:
    kept: list[torch.Tensor] = []
    x = images(torch.float32).requires_grad_() * 2
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = normalised_leaky_relu(x, SLOPE)
    large = {t.untyped_storage().data_ptr() for t in kept if t.numel() == x.numel()}
    assert large == {out.untyped_storage().data_ptr()}


@in_both_formats
def test_without_gradients_it_is_done_in_place(memory_format: torch.memory_format) -> None:
    x = images(torch.float32).contiguous(memory_format=memory_format)
    wanted, where = ours(x.clone().requires_grad_()).detach(), x.data_ptr()
    out = ours(x)
    assert out.data_ptr() == where
    assert torch.equal(out, wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_normalised_in_single_precision(dtype: torch.dtype) -> None:
    """A mean of 300 has an error of 1 in bfloat16, were it rounded to it."""
    rng = torch.Generator().manual_seed(10)
    x = (300 + 20 * torch.randn(1, 3, 40, 50, generator=rng)).to(dtype).requires_grad_()
    out = ours(x)
    assert out.dtype == dtype
    wanted = plain(x.detach().double())
    assert float((out.detach().double() - wanted).abs().max()) < 4 * torch.finfo(dtype).eps
    out.sum().backward()
    assert x.grad is not None and x.grad.dtype == dtype and bool(torch.isfinite(x.grad).all())


def test_constant_and_blank_channels_are_zero() -> None:
    x = torch.full((1, 2, 6, 6), 5.0)
    x[:, 1] = 0
    x.requires_grad_()
    out = ours(x)
    out.sum().backward()
    assert not out.any() and x.grad is not None and bool(torch.isfinite(x.grad).all())
