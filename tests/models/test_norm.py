"""Instance normalisation and activations in one, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dealias.models.layers import lines
from dealias.models.layers.norm import (
    NONE,
    RELU,
    SILU,
    Activation,
    instance_norm,
    normalised_activation,
)

SLOPE = 0.2
FORMATS = [torch.contiguous_format, torch.channels_last]
in_both_formats = pytest.mark.parametrize("memory_format", FORMATS, ids=["NCHW", "NHWC"])
after = pytest.mark.parametrize("activation", [NONE, RELU, SLOPE, SILU])


@pytest.fixture(autouse=True, params=[lines.SMALL, 0], ids=["whole", "in parts"])
def _in_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of large images are summed part by part, and here of small ones as well."""
    monkeypatch.setattr(lines, "SMALL", request.param)


def plain(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(F.instance_norm(x), SLOPE)


def ours(x: torch.Tensor) -> torch.Tensor:
    return normalised_activation(x, SLOPE)


def in_steps(
    x: torch.Tensor, activation: Activation, weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None, added: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """What one function does, by torch's own; which refuse a single pixel."""
    mean = x.mean((2, 3), keepdim=True)
    y = (x - mean) / torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + 1e-5)
    if weight is not None and bias is not None:
        y = y * weight[:, None, None] + bias[:, None, None]
    y = y if added is None else y + added
    return y * torch.sigmoid(y) if activation == SILU else torch.where(y > 0, y, y * activation)


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
@after
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 9, 14), (1, 1, 7, 5), (3, 2, 1, 1), (2, 3, 1, 6)])
def test_all_that_comes_after_is_exact(
    memory_format: torch.memory_format, activation: Activation, affine: bool, residual: bool,
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    """The value and the gradients of all that goes in; of means a hundred times the deviation."""
    rng = torch.Generator().manual_seed(11)
    # no weight is 0 and some are: what is normalised must not be sought in what comes out
    weight = torch.tensor([0.0, 1.5, -2.0, 0.3, 1.0], dtype=torch.float64)[: shape[1]]
    bias = torch.tensor([0.5, 0.0, -1.0, 2.0, 0.1], dtype=torch.float64)[: shape[1]]
    x, other, towards = torch.randn(3, *shape, dtype=torch.float64, generator=rng).unbind(0)
    given = [x * 3 + 300, weight, bias, other]
    used = [True, affine, affine, residual]
    results = []
    for function in (in_steps, normalised_activation):
        leaves = [
            one.clone(memory_format=memory_format if one.ndim == 4 else torch.preserve_format)
            .requires_grad_() if use else None
            for one, use in zip(given, used, strict=True)
        ]  # fmt: skip
        out = function(leaves[0], activation, *leaves[1:])
        there = [leaf for leaf in leaves if leaf is not None]
        results.append([out.detach(), *torch.autograd.grad(out, there, towards)])
        with torch.no_grad():
            again = function(leaves[0], activation, *leaves[1:])
        assert torch.equal(again, out)
    for found, wanted in zip(*results, strict=True):
        assert float((found - wanted).abs().max()) < 1e-10 * (1 + float(wanted.abs().max()))


@after
def test_what_is_kept(activation: Activation) -> None:
    """Beside the output, which the next convolution keeps, one tensor at most."""
    kept: list[torch.Tensor] = []
    x, other = (images(torch.float32).requires_grad_() * 2 for _ in range(2))
    weight, bias = (torch.ones(5, requires_grad=True) for _ in range(2))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        outs = [
            normalised_activation(x, activation),
            normalised_activation(x, activation, weight, bias, other),
        ]
    large = {t.untyped_storage().data_ptr() for t in kept if t.numel() == x.numel()}
    known = {one.untyped_storage().data_ptr() for one in (*outs, other)}
    assert len(large - known) == 1 + (activation in (RELU, SILU))
    assert x.untyped_storage().data_ptr() not in large


def test_alone_it_leaves_its_input() -> None:
    x = images(torch.float64)
    before = x.clone()
    assert torch.allclose(instance_norm(x), F.instance_norm(x), rtol=1e-10)
    assert torch.equal(x, before)


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
        out = ours(x)
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
