"""Which settings mattered: how much of the scores' variance each one explains alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from dealias.runs.study.sweep.space import Parameter, Space, said
from dealias.runs.study.sweep.trial import FINISHED, Trial

PARTS = 4
"""Parts of equally many trials that a range is cut into; fewer where there are few trials."""
LEAST = 3
"""Trials in a part."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """What one setting explains.

    Attributes:
        key: The setting.
        share: Of the variance of the totals, 0..1, by a one-way analysis of variance: epsilon
            squared (Kelley 1935), which expects 0 of a setting without effect, below 0 given as 0.
        chance: How often as much would be seen of a setting without effect: the F test.
        trials: Finished ones, whose totals are analysed.
    """

    key: str
    share: float
    chance: float
    trials: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def importances(space: Space, trials: Sequence[Trial]) -> tuple[Importance, ...]:
    """What each varied setting explains, the most first.

    Values are groups as they are; a range is cut into parts of equally many trials. What settings
    do only together is in no share, so shares of a grid add up to 1 or less. TPE does not draw its
    trials independently: its shares are a hint.

    Args:
        space: What was tried.
        trials: Of it; those that did not finish are left out.

    Returns:
        One for each setting of which enough finished trials tell anything.
    """
    done = [trial for trial in trials if trial.state == FINISHED and trial.total is not None]
    totals = np.array([trial.total for trial in done], np.float64)
    found = []
    for key, parameter in space.varied.items():
        groups = groups_of(parameter, [trial.values[key] for trial in done])
        shared = explained(totals, groups)
        if shared is not None:
            found.append(Importance(key, *shared, len(done)))
    return tuple(sorted(found, key=lambda one: (-one.share, one.chance)))


def groups_of(parameter: Parameter, values: Sequence[Any]) -> list[int]:
    """Which group each value is in."""
    if parameter.ends is None:
        known = [said(one) for one in parameter.choices]
        return [known.index(said(value)) for value in values]
    parts = min(PARTS, max(1, len(values) // LEAST))
    # equal values are never in two parts: each takes the part of the first of them
    ordered = sorted(values)
    return [ordered.index(value) * parts // len(values) for value in values]


def explained(totals: Floats, groups: Sequence[int]) -> tuple[float, float] | None:
    """The share of variance between groups, and how often chance alone gives as much.

    Args:
        totals: One of each trial.
        groups: Of each trial.

    Returns:
        (epsilon squared, probability), or None where there is one group, or one trial in each.
    """
    count, kinds = len(totals), sorted(set(groups))
    if len(kinds) < 2 or count <= len(kinds):
        return None
    whole = float(np.square(totals - totals.mean()).sum())
    if whole == 0:
        return 0.0, 1.0
    chosen = [totals[np.array(groups) == kind] for kind in kinds]
    within = float(sum(np.square(one - one.mean()).sum() for one in chosen))
    between, free = len(kinds) - 1, count - len(kinds)
    share = 1 - (within / free) / (whole / (count - 1))
    # the F test by the beta distribution, which has no division by a variance of 0
    chance = float(special.betainc(free / 2, between / 2, min(1.0, within / whole)))
    return max(0.0, share), chance
