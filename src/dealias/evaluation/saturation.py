"""From which epoch on a training no longer generalises better."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from dealias.evaluation.statistics import Floats, grouped_interval

TOLERANCE = 1e-4
"""Gains of SSIM below it are none: half of the smallest that a team of the challenge reported."""
ONE_ERROR = math.erf(math.sqrt(0.5))
"""Coverage of an interval of one standard error on both sides of a normal mean."""
LEFT = 0.1
"""Share of the validations that must lie after the epoch, so that the curve shows it is flat."""


@dataclass(frozen=True)
class Judges:
    """Who says how the volumes of a validation make its total.

    Attributes:
        weights: Of each volume in its group.
        groups: Of each volume, such as its acceleration: the total is the mean over groups.
        people: Of each volume, such as its name.
    """

    weights: tuple[float, ...]
    groups: tuple[Hashable, ...]
    people: tuple[Hashable, ...]

    def error(self, gains_V: Floats) -> float:
        """Standard error over people of the mean of paired gains; 0 where too few tell."""
        ends = grouped_interval(
            list(gains_V), self.weights, self.groups, self.people, level=ONE_ERROR
        )
        return 0.0 if ends is None else (ends[1] - ends[0]) / 2


@dataclass(frozen=True)
class Saturation:
    """Where a validation curve becomes flat.

    Attributes:
        epochs: Epochs done at the first validation that no later one beats by more than `noise`.
        of: Epochs done at the last validation.
        best: Epochs done at the best one.
        left: What the best one has more, of the protocol's total.
        noise: One standard error of that, paired by volume, and the tolerance at least.
        seen: Whether a tenth of the validations, and two of them at least, lie after it: else the
            training ended while it still gained, or too early to tell.
    """

    epochs: int
    of: int
    best: int
    left: float
    noise: float
    seen: bool

    def __str__(self) -> str:
        gain = f"the rest gains {self.left:.5f}, noise is {self.noise:.5f}"
        if not self.seen:
            return f"no saturation seen in {self.of} epochs: gains until epoch {self.epochs}"
        return f"after {self.epochs} of {self.of} epochs: {gain}, best after {self.best}"


def saturation(
    epochs: Sequence[int],
    totals: Sequence[float],
    volumes_TV: Floats | None = None,
    judges: Judges | None = None,
    tolerance: float = TOLERANCE,
) -> Saturation | None:
    """The one-standard-error rule (Breiman et al. 1984) over epochs in place of trees.

    The first epoch is taken whose total lies within one standard error of the best one's. The error
    is of their paired difference: people differ far more than epochs do, and that cancels.

    Args:
        epochs: Done at each validation, from 1, rising.
        totals: The protocol's, of each validation; those that are not finite are left out.
        volumes_TV: Mean of each volume in each validation, or None where nobody wrote them: then
            the tolerance alone counts.
        judges: How volumes make the total; with `volumes_TV`.
        tolerance: The least gain that counts.

    Returns:
        Where, or None without two validations.
    """
    places = [t for t, total in enumerate(totals) if math.isfinite(total)]
    if len(places) < 2:
        return None
    best = max(places, key=lambda t: totals[t])  # the first of equal ones

    def noise(t: int) -> float:
        if volumes_TV is None or judges is None:
            return tolerance
        return max(tolerance, judges.error(np.asarray(volumes_TV[best] - volumes_TV[t])))

    first = next(t for t in places if totals[best] - totals[t] <= noise(t))
    after = sum(t > first for t in places)
    seen = after >= max(2, math.ceil(LEFT * len(places)))
    left = totals[best] - totals[first]
    return Saturation(epochs[first], epochs[places[-1]], epochs[best], left, noise(first), seen)
