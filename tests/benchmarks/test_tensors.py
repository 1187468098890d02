"""Memory by tensors: against sizes known beforehand, and against the allocator's own word."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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


def test_storages_are_counted_once_and_while_they_live() -> None:
    assert held(chain) == Taken(2 * SIZE, SIZE)


def test_a_result_may_be_what_was_there() -> None:
    assert held(lambda: THERE.view(-1, 4)) == Taken(0, 0)


@pytest.mark.parametrize("call", [chain, backward], ids=["chain", "backward"])
def test_it_is_the_allocators_count_where_kernels_take_nothing(call: Callable[[], object]) -> None:
    (word,) = taken([partial(lambda: call)], CPU)
    found = held(call)
    # the allocator rounds each of its few blocks, and a sum takes a number
    assert found.peak == pytest.approx(word.peak, abs=1024)
    assert found.kept == pytest.approx(word.kept, abs=1024)
