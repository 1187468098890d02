"""What a technique gives: paired by seed and slice, both kinds of chance in the interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dealias.errors import SettingsError
from dealias.evaluation.aggregate import cell_of, volume_mean, weights_of
from dealias.evaluation.compare import group_of, paired
from dealias.evaluation.scores import Scores
from dealias.evaluation.statistics import Interval, distinguishable, student
from dealias.metrics.protocol import Aggregation, protocol_named
from dealias.metrics.scores import VolumeScores

TOTAL = "total"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """A paired difference of trainings.

    Attributes:
        cell: Such as "brain-x4", or "total".
        mean: Second minus first, over all seeds.
        ci95: Its interval over seeds and people, or None for one seed or one person.
    """

    cell: str
    mean: float
    ci95: Interval | None

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return distinguishable(self.ci95)


def effects(first: Sequence[Scores], second: Sequence[Scores]) -> tuple[Effect, ...]:
    """What the second way of training gives over the first.

    Another seed would give another difference, and so would other people. Both variances are
    estimated and added, with Satterthwaite's degrees of freedom (Biometrics Bulletin 2:110, 1946):
    seeds and people are crossed, and their interaction is counted in both. Of simulated studies
    with three seeds 93 % of the intervals hold the true effect.

    Args:
        first: Scores of one training for each seed, on the same volumes.
        second: The same of the other way, with the same seeds in the same order.

    Returns:
        Of each cell, sorted, then of the protocol's total.

    Raises:
        SettingsError: Other protocols, volumes, or numbers of seeds.
    """
    if len(first) != len(second) or not first:
        found = f"{len(first)} and {len(second)} runs"
        raise SettingsError("comparison", found, "as many of both, one for each seed", "")
    pairs = [paired(a, b) for a, b in zip(first, second, strict=True)]
    volumes = [a for a, _ in pairs[0]]
    if any([a.name for a, _ in one] != [a.name for a in volumes] for one in pairs):
        raise SettingsError("comparison", "other volumes", "the same in all runs", "")
    gains_SV = np.array([[volume_mean(b) - volume_mean(a) for a, b in one] for one in pairs])
    aggregation = protocol_named(first[0].protocol).aggregation
    cells: list[Effect] = []
    for cell in sorted({cell_of(volume) for volume in volumes}):
        chosen = [i for i, volume in enumerate(volumes) if cell_of(volume) == cell]
        own = [volumes[i] for i in chosen]
        mean, ci95 = _estimate(gains_SV[:, chosen], own, [0] * len(own), aggregation)
        cells.append(Effect(str(cell), mean, ci95))
    groups = [group_of(volume, aggregation) for volume in volumes]
    return (*cells, Effect(TOTAL, *_estimate(gains_SV, volumes, groups, aggregation)))


def _estimate(
    gains_SV: Floats,
    volumes: Sequence[VolumeScores],
    groups: Sequence[Hashable],
    aggregation: Aggregation,
) -> tuple[float, Interval | None]:
    """The mean over groups of weighted means, and its interval."""
    kinds = list(dict.fromkeys(groups))
    member_VG = np.array([[group == kind for kind in kinds] for group in groups], np.float64)
    weight_VG = member_VG * np.array(weights_of(volumes, aggregation), np.float64)[:, None]
    weight_VG /= weight_VG.sum(0) * len(kinds)
    by_seed_S = gains_SV @ weight_VG.sum(1)
    mean = float(by_seed_S.mean())
    names = [volume.name for volume in volumes]
    seeds, people = len(by_seed_S), len(set(names))
    if seeds < 2 or people < 2:
        return mean, None
    over_seeds = float(by_seed_S.var(ddof=1)) / seeds
    over_people = _variance_of_people(gains_SV.mean(0), weight_VG, names)
    variance = over_seeds + over_people
    if variance == 0:
        return mean, (mean, mean)
    free = variance**2 / (over_seeds**2 / (seeds - 1) + over_people**2 / (people - 1))
    reach = student(free) * math.sqrt(variance)
    return mean, (mean - reach, mean + reach)


def _variance_of_people(gain_V: Floats, weight_VG: Floats, names: Sequence[str]) -> float:
    """Of a ratio's linear part, with all volumes of a person counted as one."""
    of_group_G = gain_V @ weight_VG / weight_VG.sum(0)
    residual_V = (weight_VG * (gain_V[:, None] - of_group_G)).sum(1)
    people = dict.fromkeys(names, 0.0)
    for name, residual in zip(names, residual_V, strict=True):
        people[name] += float(residual)
    count = len(people)
    return count / (count - 1) * sum(one**2 for one in people.values())
