"""3x3 convolutions by Winograd's filtering, against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.kernels import build
from dealias.kernels.convolution import conv3x3, conv3x3_moments, suits
from dealias.models.layers.convolution import Conv2d

# tiles that end within the image and beyond it, channels that fill vectors and do not
SHAPES = [(2, 19, 21, 43, 62), (1, 8, 16, 64, 64), (3, 16, 8, 33, 48), (1, 144, 40, 45, 50),
          (1, 9, 83, 1, 700), (1, 18, 36, 600, 2)]  # fmt: skip
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
pytestmark = pytest.mark.usefixtures("kernels")


def given(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """An image with a mean, weights, a bias, and a gradient of what they give."""
    batch, channels, out, height, width = shape
    rng = torch.Generator().manual_seed(3)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, dtype=torch.float64, generator=rng).to(dtype)

    x = (draw(batch, channels, height, width) + 2).contiguous(memory_format=torch.channels_last)
    assert suits(x, out)
    return x, draw(out, channels, 3, 3), draw(out), draw(batch, out, height, width)


def plain(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=1)


def results(function: Callable[..., Any], *given: Tensor) -> list[Tensor]:
    """What it gives, and its gradients."""
    *leaves, towards = (one.clone().requires_grad_() for one in given)
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, towards.detach())]


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@shapes
def test_values_and_gradients_are_torchs(shape: tuple[int, ...]) -> None:
    x, weight, bias, towards = given(shape)
    found = results(conv3x3, x, weight, bias, towards)
    for one, other in zip(found, results(plain, x, weight, bias, towards), strict=True):
        assert apart(one, other) < 1e-13
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert apart(conv3x3(x, weight), plain(x, weight)) < 1e-13


@shapes
def test_float32_rounds_little_more_than_torchs(shape: tuple[int, ...]) -> None:
    """Found: 2 to 3.5 times torch's own error."""
    exact = [one.float().double() for one in given(shape)]
    wanted = results(plain, *exact)
    single = [one.float().contiguous(memory_format=torch.channels_last) for one in exact[:1]]
    single += [one.float() for one in exact[1:]]
    ours, torchs = results(conv3x3, *single), results(plain, *single)
    for one, other, true in zip(ours[:2], torchs[:2], wanted[:2], strict=True):
        assert apart(one, true) < 6 * apart(other, true) + 1e-7
    assert apart(ours[2], wanted[2]) < 5e-6


def test_moments_are_those_of_what_comes_out() -> None:
    x, weight, bias, _ = given(SHAPES[0])
    # a large mean would drown the deviations of sums of squares
    out, found = conv3x3_moments(x, weight, 1e6 * bias, 1e-5)
    assert torch.equal(out, conv3x3(x, weight, 1e6 * bias))
    mean, left, scale = found
    assert torch.allclose(mean + left, out.mean((2, 3)), rtol=1e-14, atol=0)
    wanted = (out.var((2, 3), correction=0) + 1e-5).rsqrt()
    assert torch.allclose(scale, wanted, rtol=1e-9, atol=0)
    single = conv3x3_moments(x.float(), weight.float(), 1e3 * bias.float(), 1e-5)[1]
    assert torch.allclose(single[2].double(), wanted, rtol=1e-4)


def test_threads_change_nothing_but_sums_over_tiles(threads: Callable[[int], None]) -> None:
    # large enough that threads compute at the same time
    image, weight, bias, towards = given((1, 19, 21, 200, 180))
    found = []
    for count in (1, 2, 5):
        threads(count)
        moments = conv3x3_moments(image, weight, bias, 1e-5)[1]
        found.append([*results(conv3x3, image, weight, bias, towards), moments])
    for (y, x, w, _, m), *others in [found]:
        for other in others:
            assert torch.equal(other[0], y)
            assert torch.equal(other[1], x)
            assert apart(other[2], w) < 1e-14
            assert torch.equal(other[4], m)


def test_layouts_of_weights_and_gradients_do_not_matter() -> None:
    x, weight, bias, towards = given(SHAPES[0])
    wanted = results(conv3x3, x, weight, bias, towards)
    stored = [
        weight.contiguous(memory_format=torch.channels_last),
        weight.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
        torch.stack([weight, weight], dim=-1)[..., 0],
    ]
    for one in stored:
        for found, other in zip(results(conv3x3, x, one, bias, towards), wanted, strict=True):
            assert torch.equal(found, other)
    leaf = x.clone().requires_grad_()
    conv3x3(leaf, weight, bias).sum().backward()  # a gradient of one number, expanded
    assert leaf.grad is not None
    ones = torch.ones_like(towards)
    assert apart(leaf.grad, results(conv3x3, x, weight, bias, ones)[1]) < 1e-14


def test_what_is_not_a_number_is_not_lost() -> None:
    x, weight, bias, _ = given(SHAPES[1])
    x[0, 3, 17, 30] = torch.nan
    found, wanted = conv3x3(x, weight, bias).isnan(), plain(x, weight, bias).isnan()
    assert (found | ~wanted).all()
    # a tile knows of no less than all of itself
    rows, columns = found.any(1)[0].nonzero().T
    assert int(rows.min()) >= 16
    assert int(rows.max()) < 20
    assert int(columns.min()) >= 28
    assert int(columns.max()) < 32


def test_gradients_of_gradients_are_refused() -> None:
    x, weight, bias, _ = given(SHAPES[1])
    weight.requires_grad_()
    (once,) = torch.autograd.grad(
        conv3x3(x, weight, bias).square().sum(), weight, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


def test_what_suits() -> None:
    x = torch.randn(1, 16, 64, 64).contiguous(memory_format=torch.channels_last)
    assert suits(x, 16)
    assert not suits(x, 7)
    assert not suits(x[:, :8], 16)  # a part of a wider image's channels
    assert not suits(x.contiguous(), 16)
    assert not suits(x.bfloat16(), 16)
    small = x[..., :20, :20].contiguous(memory_format=torch.channels_last)
    assert not suits(small, 256)
    build._asked.clear()
    assert not suits(x, 16)


@pytest.mark.parametrize(
    "settings",
    [{}, {"padding": 1, "stride": 2}, {"padding": 1, "dilation": 2}, {"padding": 1, "groups": 2},
     {"padding": 1, "padding_mode": "reflect"}, {"padding": 2}, {"padding": (1, 0)}],
    ids=str,
)  # fmt: skip
def test_other_convolutions_stay_torchs(ran: Any, settings: dict[str, Any]) -> None:
    x = given(SHAPES[1])[0].repeat(1, 2, 1, 1).contiguous(memory_format=torch.channels_last)
    convolution = Conv2d(16, 16, 3, **settings).double()
    with ran() as seen:
        found = convolution(x)
    assert seen.ours() == 0
    assert torch.equal(found, torch.nn.Conv2d.forward(convolution, x))
    with ran() as seen:
        Conv2d(16, 16, 3, padding=1).double()(x)
    assert seen.ours() == 1


def test_meta_gives_what_a_cpu_gives() -> None:
    x, weight, bias, towards = given(SHAPES[0])
    towards = towards.contiguous(memory_format=torch.channels_last)

    def all_of(*tensors: Tensor) -> list[Tensor]:
        x, weight, bias, towards = tensors
        ours = torch.ops.dealias
        found = ours.moments(x, 1e-5)
        return [
            ours.conv3x3(x, weight, bias, False), ours.conv3x3(towards, weight, None, True),
            *ours.conv3x3_moments(x, weight, bias, 1e-5), ours.conv3x3_weight(x, towards), found,
            ours.activate(x, found, 0.2), ours.activate_gradient(x, x, found, 0.2),
            ours.activate_(x, found, 0.2),
        ]  # fmt: skip

    found = all_of(*(one.to("meta") for one in (x, weight, bias, towards)))
    for one, other in zip(found, all_of(x, weight, bias, towards), strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
    assert not suits(x.to("meta"), 21)
    with build.counted_for("cuda"):
        assert not suits(x.to("meta"), 21)
    with build.counted_for("cpu"):
        assert suits(x.to("meta"), 21)
    assert not suits(x.to("meta"), 21)
