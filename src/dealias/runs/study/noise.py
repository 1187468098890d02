"""How much the score of a recipe varies from one seed to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dealias.errors import SettingsError
from dealias.evaluation.scores import Scores
from dealias.evaluation.statistics import Spread, spread

TOTAL = "total"


@dataclass(frozen=True)
class Noise:
    """Spread of a recipe's scores over seeds.

    Attributes:
        protocol: By which they were scored.
        seeds: How many runs.
        spreads: Of each cell by its name, such as "brain-x4", and of "total", which comes last.
    """

    protocol: str
    seeds: int
    spreads: dict[str, Spread]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        single = {"detectable": {name: one.detectable() for name, one in self.spreads.items()}}
        return {**asdict(self), **single}


def noise_of(runs: Sequence[Scores]) -> Noise:
    """The spread of some runs' scores.

    Args:
        runs: Of one recipe on the same data, at least two.

    Raises:
        SettingsError: They were scored in different ways.
    """
    if len({(run.protocol, run.spec) for run in runs}) != 1:
        raise SettingsError("runs", "several protocols", "one", "evaluate all by the same one")
    values: dict[str, list[float]] = {}
    for run in runs:
        for cell in run.cells:
            values.setdefault(f"{cell.anatomy}-x{cell.acceleration}", []).append(cell.mean)
    values[TOTAL] = [run.total for run in runs]
    if any(len(one) != len(runs) for one in values.values()):
        raise SettingsError("runs", "other cells", "the same in all", "score them on the same data")
    return Noise(runs[0].protocol, len(runs), {name: spread(one) for name, one in values.items()})
