"""The values of a trial, by its number: of a grid in order, at random by counted draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dealias.randomness import generator
from dealias.runs.study.sweep.space import Number, Parameter, Space

DIGITS = 6
"""Of a drawn number: what is typed, trained and shown is the same."""


def counted_point(space: Space, number: int) -> dict[str, Any]:
    """The values of one trial of a grid or a random sweep; the same on every machine.

    Args:
        space: Of method "grid" or "random".
        number: Of the trial, from 0; of a grid less than its points.

    Returns:
        A value for each setting of the space.
    """
    return (_grid if space.method == "grid" else _random)(space, number)


def _grid(space: Space, number: int) -> dict[str, Any]:
    """Counts through the values, the last setting's fastest."""
    found = {}
    for key, one in reversed(space.space.items()):
        number, place = divmod(number, len(one.choices))
        found[key] = one.choices[place]
    return {key: found[key] for key in space.space}


def _random(space: Space, number: int) -> dict[str, Any]:
    """Each setting has a stream of its own, so that no other one's range shifts it."""
    return {
        key: _drawn(one, generator(space.seed, f"sweep {key}", number))
        for key, one in space.space.items()
    }


def _drawn(parameter: Parameter, rng: np.random.Generator) -> Any:
    if parameter.ends is None:
        return parameter.choices[int(rng.integers(len(parameter.choices)))]
    low, high = parameter.ends
    # a whole number takes what rounds to it, so that the two ends are as likely as the others
    margin = 0.5 if parameter.whole else 0.0
    ends: tuple[Number, Number] = (low - margin, high + margin)
    if parameter.log:
        value = math.exp(rng.uniform(math.log(ends[0]), math.log(ends[1])))
    else:
        value = rng.uniform(*ends)
    if parameter.whole:
        return min(max(round(value), int(low)), int(high))
    return min(max(float(f"{value:.{DIGITS}g}"), float(low)), float(high))
