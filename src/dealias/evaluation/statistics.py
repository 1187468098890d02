"""Uncertainty of a mean over people, not over slices, and of a score over trainings."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from dealias.randomness import generator

RESAMPLES = 2000
LEVEL = 0.95
Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]


def bootstrap_interval(
    means: Sequence[float],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval | None:
    """Percentile bootstrap interval of a weighted mean, resampling whole volumes (Efron 1979).

    Slices of one person are alike: resampling slices would make the interval too narrow.

    Args:
        means: One number for each volume, such as its mean SSIM, or a paired difference.
        weights: How much each counts, such as its slices; all the same if None.
        seed: The draws are counted, so the same scores have the same interval every time.
        level: Nominal coverage.

    Returns:
        (low, high), or None for fewer than two volumes, which say nothing of their spread.
    """
    count = len(means)
    if count < 2:
        return None
    value = np.asarray(means, dtype=np.float64)
    weight = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    draws = generator(seed, "bootstrap", count).integers(count, size=(RESAMPLES, count))
    resampled = (value * weight)[draws].sum(1) / weight[draws].sum(1)
    return _middle(resampled, level)


def grouped_interval(
    values: Sequence[float],
    weights: Sequence[float],
    groups: Sequence[Hashable],
    people: Sequence[Hashable],
    seed: int = 0,
    level: float = LEVEL,
) -> Interval | None:
    """Bootstrap interval of a mean over groups of weighted means, resampling people.

    Who is in one group is drawn in place of who is in the same group, or groups, so that no group
    is ever empty; all volumes of a person come and go together.

    Args:
        values: One number for each volume.
        weights: How much each counts in its group.
        groups: Of each volume, such as its acceleration.
        people: Of each volume, such as its name.
        seed: The draws are counted.
        level: Nominal coverage.

    Returns:
        (low, high), or None where no two people are in the same groups.
    """
    kinds = sorted(set(groups), key=str)
    member = np.array([[group == kind for kind in kinds] for group in groups], dtype=np.float64)
    strata: dict[tuple[str, ...], list[Hashable]] = {}
    for person in dict.fromkeys(people):
        own = tuple(
            sorted({str(g) for g, who in zip(groups, people, strict=True) if who == person})
        )
        strata.setdefault(own, []).append(person)
    if all(len(stratum) < 2 for stratum in strata.values()):
        return None
    times: dict[Hashable, Floats] = {}
    rng = generator(seed, "bootstrap-people", len(values))
    for stratum in strata.values():
        drawn = rng.integers(len(stratum), size=(RESAMPLES, len(stratum)))
        for number, person in enumerate(stratum):
            times[person] = (drawn == number).sum(1).astype(np.float64)
    counted = np.stack([times[person] for person in people], 1) * np.asarray(weights, np.float64)
    means = (counted * np.asarray(values, np.float64)) @ member / (counted @ member)
    return _middle(means.mean(1), level)


def distinguishable(interval: Interval | None) -> bool:
    """Whether an interval of a difference leaves out 0."""
    return interval is not None and (interval[0] > 0 or interval[1] < 0)


@dataclass(frozen=True)
class Spread:
    """A score over several trainings that differ in their seed alone, taken as normal.

    Attributes:
        count: Trainings.
        mean: Of their scores.
        deviation: Standard deviation of one training's score, with count - 1 degrees of freedom.
        ci95: Interval of the deviation, by chi-square: wide, as few seeds say little of it.
    """

    count: int
    mean: float
    deviation: float
    ci95: Interval

    def detectable(self, runs: int = 1) -> float:
        """The difference that chance alone exceeds once in twenty times.

        Args:
            runs: Of each kind, whose means are compared; 1 for two single trainings.

        Returns:
            t sqrt(2 / runs) deviation, t being Student's for the seeds there were, as the deviation
            itself is uncertain.
        """
        t = student(self.count - 1)
        return t * math.sqrt(2 / runs) * self.deviation


def spread(values: Sequence[float]) -> Spread:
    """The spread of a score over trainings.

    Args:
        values: One of each training, at least two.

    Raises:
        ValueError: Fewer.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} trainings say nothing of their spread")
    free = len(values) - 1
    deviation = float(np.std(values, ddof=1))
    # chdtri gives what chi-square exceeds with a probability
    ends = [special.chdtri(free, tail) for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]
    low, high = (deviation * math.sqrt(free / end) for end in ends)
    return Spread(len(values), float(np.mean(values)), deviation, (low, high))


def student(free: float, level: float = LEVEL) -> float:
    """What Student's t exceeds, in either direction, with a probability of 1 - level."""
    return float(special.stdtrit(free, (1 + level) / 2))


def _middle(resampled: Floats, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
