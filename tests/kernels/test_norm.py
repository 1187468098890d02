"""Instance normalisation with LeakyReLU by our kernels, against the formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dealias.kernels.norm import WORTH
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.norm import (
    NONE,
    RELU,
    SILU,
    Activation,
    instance_norm,
    normalised_activation,
    normalised_convolution,
)  # fmt: skip

SHAPES = [(2, 18, 43, 62), (1, 3, 130, 90), (2, 8, 64, 65), (1, 72, 33, 50), (1, 300, 11, 13)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
pytestmark = pytest.mark.usefixtures("kernels")


def images(shape: tuple[int, ...], mean: float = 3.0) -> Tensor:
    """Channels of different scales, channels last."""
    rng = torch.Generator().manual_seed(5)
    scale = torch.logspace(-3, 3, shape[1], dtype=torch.float64)[:, None, None]
    x = (torch.randn(shape, dtype=torch.float64, generator=rng) + mean) * scale
    assert x.numel() >= WORTH
    return x.contiguous(memory_format=torch.channels_last)


def plain(x: Tensor, slope: float) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    y = (x - mean) / torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + 1e-5)
    return torch.where(y > 0, y, y * slope)


def farthest(found: Tensor, wanted: Tensor) -> float:
    """As a part of each channel's size, which differ by millions."""
    size = wanted.abs().amax((0, 2, 3), keepdim=True)
    return float(((found - wanted) / size).abs().max())


@shapes
@pytest.mark.parametrize("slope", [0.2, NONE])
def test_values_and_gradients_are_the_formulas(
    ran: Any, shape: tuple[int, ...], slope: float
) -> None:
    x = images(shape)
    towards = torch.randn(shape, dtype=x.dtype, generator=torch.Generator().manual_seed(6))
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    with ran() as seen:
        out = normalised_activation(leaves[0], slope)
    assert seen.count["dealias::activate"] == 1
    assert torch.equal(leaves[0], x)
    wanted = plain(leaves[1], slope)
    assert farthest(out.detach(), wanted.detach()) < 1e-12
    (found,), (true,) = (
        torch.autograd.grad(one, leaf, towards)
        for one, leaf in zip((out, wanted), leaves, strict=True)
    )
    assert farthest(found, true) < 1e-11
    assert out.is_contiguous(memory_format=torch.channels_last)


@shapes
@pytest.mark.parametrize("slope", [0.2, NONE, RELU])
def test_without_gradients_it_works_in_place(
    ran: Any, shape: tuple[int, ...], slope: float
) -> None:
    x = images(shape)
    wanted = plain(x, slope)
    with ran() as seen, torch.no_grad():
        kept = instance_norm(x)
        found = normalised_activation(x, slope)
    assert (seen.count["dealias::activate"], seen.count["dealias::activate_"]) == (1, 1)
    assert found.data_ptr() == x.data_ptr() != kept.data_ptr()
    assert farthest(found, wanted) < 1e-12
    assert float(kept.mean((2, 3)).abs().max()) < 1e-12


def test_a_large_mean_does_not_drown_what_varies() -> None:
    x = images(SHAPES[0], mean=1e4).float()
    leaf, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    found, wanted = normalised_activation(leaf, 0.2), plain(exact, 0.2)
    assert farthest(found.detach(), wanted.detach()) < 3e-7
    towards = torch.ones_like(wanted).cumsum(3) % 7
    (of,) = torch.autograd.grad(found, leaf, towards.float())
    (true,) = torch.autograd.grad(wanted, exact, towards)
    assert farthest(of, true) < 2e-6


@pytest.mark.parametrize("times", [10.0, 1000.0])
def test_one_pixel_that_stands_out_spoils_nothing(times: float) -> None:
    """The first, which a sum might take its origin from."""
    rng = torch.Generator().manual_seed(9)
    x = torch.randn(1, 18, 120, 90, generator=rng)
    x[:, :, 0, 0] = times
    x = x.contiguous(memory_format=torch.channels_last)
    wanted = (x.double().var((2, 3), correction=0) + 1e-5).rsqrt()
    found = torch.ops.dealias.moments(x, 1e-5)[2].double()
    assert float((found / wanted - 1).abs().max()) < 5e-7
    weight = torch.zeros(18, 18, 3, 3)
    weight[:, :, 1, 1] = torch.eye(18)
    same, of = torch.ops.dealias.conv3x3_moments(x, weight, None, 1e-5)
    wanted = (same.double().var((2, 3), correction=0) + 1e-5).rsqrt()
    assert float((of[2].double() / wanted - 1).abs().max()) < 5e-7


def test_autograd_notices_what_was_overwritten() -> None:
    x, weight = images(SHAPES[0]), torch.ones((), dtype=torch.float64, requires_grad=True)
    product = x * weight
    normalised_activation(x, 0.2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_what_does_not_vary_gives_zeros() -> None:
    x = torch.full((1, 16, 60, 60), 1e5).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    out = normalised_activation(x, 0.2)
    assert int(out.count_nonzero()) == 0
    (grad,) = torch.autograd.grad(out, x, torch.ones_like(out))
    assert grad.isfinite().all()


def test_any_number_of_threads_gives_the_same(threads: Callable[[int], None]) -> None:
    found = []
    for count in (1, 2, 5):
        threads(count)
        leaf = images(SHAPES[0]).requires_grad_()
        out = normalised_activation(leaf, 0.2)
        found.append((out, *torch.autograd.grad(out.square().sum(), leaf)))
    for out, grad in found[1:]:
        assert torch.equal(out, found[0][0])
        assert torch.equal(grad, found[0][1])


@pytest.mark.parametrize("activation", [RELU, SILU, 1.5])
def test_what_the_kernels_have_not_is_computed_as_before(ran: Any, activation: Activation) -> None:
    with ran() as seen:
        normalised_activation(images(SHAPES[0]).requires_grad_(), activation)
        weight = torch.ones(18, dtype=torch.float64)
        normalised_activation(images(SHAPES[0]), 0.2, weight, weight)
        normalised_activation(images(SHAPES[0]), 0.2, added=images(SHAPES[0]))
        normalised_activation(images(SHAPES[0]).contiguous(), 0.2)
        normalised_activation(images(SHAPES[0])[..., :9].clone(), 0.2)
    assert not any(name.startswith("dealias::act") for name in seen.count)


@pytest.mark.parametrize("activation", [0.2, RELU])
@pytest.mark.parametrize("graded", [True, False])
def test_a_convolution_hands_over_what_it_knows(
    ran: Any, off: Callable[..., Any], activation: float, graded: bool
) -> None:
    x = images(SHAPES[0]) / 1000
    convolution = Conv2d(18, 20, 3, padding=1).double()
    given = (x.requires_grad_(), *convolution.parameters())

    def run() -> list[Tensor]:
        with torch.set_grad_enabled(graded):
            out = normalised_convolution(convolution, x, activation)
        towards = torch.ones_like(out).cumsum(3) % 7
        return [out.detach(), *(torch.autograd.grad(out, given[:2], towards) if graded else ())]

    with ran() as seen:
        found = run()
    # ReLU's gradient needs what our kernels do not keep
    assert seen.count.get("dealias::conv3x3_moments", 0) == (not graded or activation != RELU)
    assert "dealias::moments" not in seen.count
    for one, other in zip(found, off(run), strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-11
