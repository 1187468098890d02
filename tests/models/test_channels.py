"""Means of channels, and sums with a factor for each, against torch's own."""

from __future__ import annotations

import pytest
import torch

from dealias.models.layers.channels import channel_means, gated_sum

FORMATS = [torch.contiguous_format, torch.channels_last]
in_both_formats = pytest.mark.parametrize("memory_format", FORMATS, ids=["NCHW", "NHWC"])
shapes = pytest.mark.parametrize("shape", [(2, 5, 9, 14), (1, 1, 7, 5), (3, 2, 1, 1)])


def random(count: int, *shape: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return [
        100 + torch.randn(shape, dtype=torch.float64, generator=rng).requires_grad_()
        for _ in range(count)
    ]


def same(
    found: torch.Tensor, wanted: torch.Tensor, given: list[torch.Tensor], towards: torch.Tensor
) -> None:
    pairs = zip(
        (found, *torch.autograd.grad(found, given, towards)),
        (wanted, *torch.autograd.grad(wanted, given, towards)),
        strict=True,
    )
    for one, other in pairs:
        assert one.shape == other.shape
        assert float((one - other).detach().abs().max()) < 1e-12 * float(other.detach().abs().max())


@in_both_formats
@shapes
def test_means(memory_format: torch.memory_format, shape: tuple[int, ...]) -> None:
    (x,) = random(1, *shape)
    towards = torch.arange(1.0, 1 + shape[0] * shape[1], dtype=torch.float64)
    means = channel_means(x.contiguous(memory_format=memory_format))
    same(means, x.mean((2, 3), keepdim=True), [x], towards.reshape(means.shape))


@in_both_formats
@shapes
def test_sums(memory_format: torch.memory_format, shape: tuple[int, ...]) -> None:
    x, y, towards = random(3, *shape)
    (gate,) = random(1, *shape[:2], 1, 1)
    found = gated_sum(*(one.contiguous(memory_format=memory_format) for one in (x, y)), gate)
    assert found.is_contiguous(memory_format=memory_format)
    same(found, x + gate * y, [x, y, gate], towards.detach())


@pytest.mark.parametrize("formats", [FORMATS, FORMATS[::-1]])
def test_sums_of_images_that_lie_differently(formats: list[torch.memory_format]) -> None:
    x, y, towards = random(3, 2, 5, 9, 14)
    (gate,) = random(1, 2, 5, 1, 1)
    mixed = [one.contiguous(memory_format=of) for one, of in zip((x, y), formats, strict=True)]
    same(gated_sum(*mixed, gate), x + gate * y, [x, y, gate], towards.detach())


def test_means_of_halves_are_summed_in_single_precision() -> None:
    x = (300 + torch.randn(1, 3, 200, 50, generator=torch.Generator().manual_seed(1))).bfloat16()
    found = channel_means(x.contiguous(memory_format=torch.channels_last))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, x.double().mean((2, 3), keepdim=True).bfloat16())
