"""How well the anatomies of volumes are told: by each slice, and by a volume's slices together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.evaluation.cells import cell_scores
from dealias.evaluation.scores import Scores
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Cell

NAME = "anatomy"
SPEC = (
    "1 for each slice that alone would be told right, 0 else; total=share of volumes told right by "
    "the sum of their slices' scores, and among equals the mean probability of what is right"
)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """What a classifier made of one volume.

    Attributes:
        name: The scan's.
        cell: Where it is counted.
        scores_ZK: Of each slice and class, before softmax.
        right: Which class it is.
    """

    name: str
    cell: Cell
    scores_ZK: Floats
    right: int

    @property
    def volume(self) -> int:
        """The class by all slices together."""
        return int(self.scores_ZK.sum(0).argmax())

    @property
    def slices(self) -> list[int]:
        """The class by each slice alone."""
        return [int(one) for one in self.scores_ZK.argmax(1)]

    @property
    def probability(self) -> list[float]:
        """Of what is right, by each slice alone."""
        above_ZK = np.exp(self.scores_ZK - self.scores_ZK.max(1, keepdims=True))
        return [float(one) for one in above_ZK[:, self.right] / above_ZK.sum(1)]


@dataclass(frozen=True)
class AnatomyScores(Scores):
    """Scores of a classifier, in the form of a reconstruction's: a slice's SSIM is 1 or 0 here.

    Attributes:
        accuracy: Share told right: "volumes" and "slices".
        by_cell: Share of each cell's volumes told right, by names such as "brain-x4".
        wrong: Volumes told wrong: (name, cell, place of the class that was told).
    """

    accuracy: dict[str, float]
    by_cell: dict[str, float]
    wrong: tuple[tuple[str, str, int], ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values, in the form that score files have, and more."""
        wrong = [list(one) for one in self.wrong]
        more = {"accuracy": self.accuracy, "volume_accuracy": self.by_cell, "wrong": wrong}
        return {**super().to_json(), **more}


def anatomy_scores(told: Sequence[Told]) -> AnatomyScores:
    """Put volumes together.

    A volume counts more than all slices together, as a route is decided by volume; among epochs
    with the same volumes right, the one is best that was surest of what is right.

    Args:
        told: At least one, each with at least one slice.
    """
    by_cell: dict[Cell, list[Told]] = defaultdict(list)
    for one in told:
        by_cell[one.cell].append(one)
    cells = tuple(
        cell_scores(cell, [_scores(one) for one in by_cell[cell]], "mean of slices")
        for cell in sorted(by_cell)
    )
    volumes = fmean(one.volume == one.right for one in told)
    right = [place == one.right for one in told for place in one.slices]
    sure = fmean(value for one in told for value in one.probability)
    total = (len(right) * volumes + sure) / (len(right) + 1)
    return AnatomyScores(
        NAME, SPEC, total, cells, tuple(_scores(one) for one in told),
        accuracy={"volumes": volumes, "slices": fmean(right)},
        by_cell={
            str(cell): fmean(one.volume == one.right for one in by_cell[cell])
            for cell in sorted(by_cell)
        },
        wrong=tuple(
            (one.name, str(one.cell), one.volume) for one in told if one.volume != one.right
        ),
    )  # fmt: skip


def _scores(one: Told) -> VolumeScores:
    slices = tuple(
        SliceScores(z, float(place == one.right), None, None) for z, place in enumerate(one.slices)
    )
    return VolumeScores(one.name, one.cell, NAME, slices)
