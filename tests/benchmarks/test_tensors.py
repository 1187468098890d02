"""Memory by tensors: against sizes known beforehand, and against the allocator's own word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dealias.engine.allocator import Taken, taken
from tensors import held

CPU = torch.device("cpu")
FLOATS = 1 << 16
SIZE = 4 * FLOATS
THERE = torch.ones(FLOATS, requires_grad=True)


def chain() -> Tensor:
    """Three new tensors, of which two live at once; a view and a change in place make none."""
    with torch.no_grad():
        return THERE.exp().view(-1, 2).mul(2).add_(1).sin()


def backward() -> None:
    """Two exponentials are kept for backward, whose gradients come one after the other."""
    THERE.exp().exp().sum().backward()
    THERE.grad = None


def convolutions() -> None:
    """Their kernels take memory for themselves, forward and backward."""
    weights = [torch.ones(18, channels, 3, 3, requires_grad=True) for channels in (1, 18, 18)]
    image = THERE.view(1, 1, 256, 256)
    for weight in weights:
        image = torch.nn.functional.silu(torch.nn.functional.conv2d(image, weight, padding=1))
    image.sum().backward()
    THERE.grad = None


def test_storages_are_counted_once_and_while_they_live() -> None:
    found = held(chain)
    # kernels see the numbers as tensors
    assert found.peak == pytest.approx(2 * SIZE, abs=64)
    assert found.kept == SIZE


def test_a_result_may_be_what_was_there() -> None:
    assert held(lambda: THERE.view(-1, 4)) == Taken(0, 0)


@pytest.mark.parametrize("call", [chain, backward, convolutions])
def test_it_is_the_allocators_count(call: Callable[[], object]) -> None:
    (word,) = taken([lambda: call], CPU)
    found = held(call)
    assert found.peak == pytest.approx(word.peak, rel=0.02)
    assert found.kept == pytest.approx(word.kept, rel=0.02)
