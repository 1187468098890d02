"""How many batches make one optimiser step, by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

Pairs = tuple[tuple[int, int], ...]
_EXPECTED = "a number from 1, or [epoch, number] pairs from epoch 0 on, such as [[0, 2], [5, 10]]"
_PLAIN: TypeAdapter[Any] = TypeAdapter(PositiveInt | tuple[tuple[NonNegativeInt, PositiveInt], ...])


def accumulation_of(value: Any) -> int | Pairs:
    """An accumulation as a person or a manifest writes it.

    Raises:
        ValueError: It is neither a number nor pairs in order, the first of them of epoch 0.
    """
    try:
        found: int | Pairs = _PLAIN.validate_python(value)
    except ValidationError:
        raise ValueError(_EXPECTED) from None
    if isinstance(found, int):
        return found
    epochs = [epoch for epoch, _ in found]
    if epochs[:1] != [0] or any(second <= first for first, second in pairwise(epochs)):
        raise ValueError(_EXPECTED)
    return found


Accumulation = Annotated[int | Pairs, BeforeValidator(accumulation_of)]
"""Batches of a step on each rank: one number, or (epoch from which, number) pairs."""


def batches_at(accumulation: int | Pairs, epoch: int) -> int:
    """Batches of a step in an epoch, from 0."""
    if isinstance(accumulation, int):
        return accumulation
    return next(number for first, number in reversed(accumulation) if first <= epoch)


def changed(accumulation: int | Pairs, change: Callable[[int], int]) -> int | Pairs:
    """The same epochs with other numbers."""
    if isinstance(accumulation, int):
        return change(accumulation)
    return tuple((epoch, change(number)) for epoch, number in accumulation)


def numbers(accumulation: int | Pairs) -> tuple[int, ...]:
    """All numbers that it takes in turn."""
    if isinstance(accumulation, int):
        return (accumulation,)
    return tuple(number for _, number in accumulation)


def steps_of(accumulation: int | Pairs, batches: int, ranks: int, epochs: int) -> int:
    """Optimiser steps of so many epochs of so many batches each."""
    sizes = (batches_at(accumulation, epoch) * ranks for epoch in range(epochs))
    return sum(math.ceil(batches / size) for size in sizes)
