"""Two methods on the same volumes: paired differences, never across protocols."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, NamedTuple

from dealias.errors import SettingsError
from dealias.evaluation.aggregate import UNKNOWN, cell_of, volume_mean, weights_of
from dealias.evaluation.scores import Scores
from dealias.evaluation.statistics import bootstrap_interval, distinguishable, grouped_interval
from dealias.metrics.protocol import Aggregation, protocol_named
from dealias.metrics.scores import VolumeScores
from dealias.scan.scan import Cell

Key = tuple[str, Cell, int]
Pair = tuple[VolumeScores, VolumeScores]


class SliceDifference(NamedTuple):
    """A slice that both methods were scored on.

    Attributes:
        name: Of its volume.
        z: Its index.
        first: SSIM of the first method.
        second: Of the second.
    """

    name: str
    z: int
    first: float
    second: float

    @property
    def gain(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class CellDifference:
    """How much SSIM the second method has over the first in one cell.

    Attributes:
        anatomy: Or "unknown".
        acceleration: Or 0.
        volumes: Pairs.
        mean: Second minus first.
        ci95: Bootstrap interval over the paired volumes, or None for a single one.
        slices: Paired slices.
        better: Share of them on which the second method is better.
    """

    anatomy: str
    acceleration: int
    volumes: int
    mean: float
    ci95: tuple[float, float] | None
    slices: int = 0
    better: float = 0.0

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return distinguishable(self.ci95)


@dataclass(frozen=True)
class Comparison:
    """Second minus first: of the protocol's totals, and in every cell.

    Attributes:
        protocol: By which both were scored.
        total: Difference of the totals.
        cells: Sorted.
        ci95: Bootstrap interval of the total's difference over people (volumes of one name), or
            None for too few.
        slices: Every paired slice, the largest loss first.
    """

    protocol: str
    total: float
    cells: tuple[CellDifference, ...]
    ci95: tuple[float, float] | None = None
    slices: tuple[SliceDifference, ...] = ()

    @property
    def distinguishable(self) -> bool:
        """Whether the total's interval leaves out 0."""
        return distinguishable(self.ci95)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        cells = [{**asdict(cell), "distinguishable": cell.distinguishable} for cell in self.cells]
        own = {"total": self.total, "ci95": self.ci95, "distinguishable": self.distinguishable}
        slices = [one._asdict() for one in self.slices]
        return {"protocol": self.protocol, **own, "cells": cells, "slices": slices}


def compare(first: Scores, second: Scores) -> Comparison:
    """Compare two methods scored by one protocol on the same volumes.

    Args:
        first: Scores of one method.
        second: Scores of the other.

    Returns:
        Differences, paired by slice; intervals over volumes, as slices of one person are alike.

    Raises:
        SettingsError: Other protocols, or other volumes.
    """
    pairs = paired(first, second)
    aggregation = protocol_named(first.protocol).aggregation
    by_cell: dict[Cell, list[Pair]] = defaultdict(list)
    for a, b in pairs:
        by_cell[cell_of(a)].append((a, b))
    cells = tuple(_cell(cell, by_cell[cell], aggregation) for cell in sorted(by_cell))
    slices = sorted(_slices(pairs), key=lambda one: (one.gain, one.name, one.z))
    total, ci95 = second.total - first.total, _total_interval(pairs, aggregation)
    return Comparison(first.protocol, total, cells, ci95, tuple(slices))


def paired(first: Scores, second: Scores) -> list[Pair]:
    """Volumes of two methods that have scored slices, side by side.

    Raises:
        SettingsError: Other protocols, other volumes, or other slices of one.
    """
    if (first.protocol, first.spec) != (second.protocol, second.spec):
        found = f"protocols {first.protocol} [{first.spec}] and {second.protocol} [{second.spec}]"
        raise SettingsError("comparison", found, "one protocol", "evaluate both by the same one")
    a, b = _by_key(first), _by_key(second)
    others = sorted(f"{name} ({cell})" for name, cell, _ in a.keys() ^ b.keys())
    if others:
        found = f"{len(others)} volumes in only one of them: {', '.join(others[:5])}"
        raise SettingsError("comparison", found, "the same volumes", "evaluate both on all of them")
    for key, volume in a.items():
        if volume.regions != b[key].regions:
            found = f"{len(volume.ssim)} and {len(b[key].ssim)} scored slices of {key[0]}"
            raise SettingsError("comparison", found, "the same slices", "evaluate both again")
    return [(volume, b[key]) for key, volume in a.items() if volume.ssim]


def group_of(volume: VolumeScores, aggregation: Aggregation) -> int:
    """Which mean a volume is in, of those whose mean is the total: its acceleration, or 0."""
    return cell_of(volume).acceleration if aggregation == "mean of accelerations" else 0


def _cell(cell: Cell, pairs: Sequence[Pair], aggregation: Aggregation) -> CellDifference:
    differences = [volume_mean(b) - volume_mean(a) for a, b in pairs]
    weights = weights_of([a for a, _ in pairs], aggregation)
    gains = [one.gain for one in _slices(pairs)]
    return CellDifference(
        *cell,
        len(differences),
        fmean(differences, weights=weights),
        bootstrap_interval(differences, weights),
        len(gains),
        fmean(gain > 0 for gain in gains),
    )


def _total_interval(pairs: Sequence[Pair], aggregation: Aggregation) -> tuple[float, float] | None:
    volumes = [a for a, _ in pairs]
    return grouped_interval(
        [volume_mean(b) - volume_mean(a) for a, b in pairs],
        weights_of(volumes, aggregation),
        [group_of(volume, aggregation) for volume in volumes],
        [volume.name for volume in volumes],
    )


def _slices(pairs: Sequence[Pair]) -> Iterator[SliceDifference]:
    for a, b in pairs:
        for one, other in zip(a.slices, b.slices, strict=True):
            if one.ssim is not None and other.ssim is not None:
                yield SliceDifference(a.name, one.z, one.ssim, other.ssim)


def _by_key(scores: Scores) -> dict[Key, VolumeScores]:
    """Volumes by name and cell; two of one name and cell are told apart by their order."""
    found: dict[Key, VolumeScores] = {}
    seen: Counter[tuple[str, Cell]] = Counter()
    for volume in scores.volumes:
        name, cell = volume.name, volume.cell or UNKNOWN
        found[name, cell, seen[name, cell]] = volume
        seen[name, cell] += 1
    return found
