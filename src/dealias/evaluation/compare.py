"""Two methods on the same volumes: paired differences, never across protocols."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean

from dealias.errors import SettingsError
from dealias.evaluation.aggregate import UNKNOWN, cell_of, volume_mean, weights_of
from dealias.evaluation.scores import Scores
from dealias.evaluation.statistics import bootstrap_interval
from dealias.metrics.protocol import protocol_named
from dealias.metrics.scores import VolumeScores
from dealias.scan.scan import Cell

Key = tuple[str, Cell, int]


@dataclass(frozen=True)
class CellDifference:
    """How much SSIM the second method has over the first in one cell.

    Attributes:
        anatomy: Or "unknown".
        acceleration: Or 0.
        volumes: Pairs.
        mean: Second minus first.
        ci95: Bootstrap interval over the paired volumes, or None for a single one.
    """

    anatomy: str
    acceleration: int
    volumes: int
    mean: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """Second minus first: of the protocol's totals, and in every cell."""

    protocol: str
    total: float
    cells: tuple[CellDifference, ...]


def compare(first: Scores, second: Scores) -> Comparison:
    """Compare two methods scored by one protocol on the same volumes.

    Args:
        first: Scores of one method.
        second: Scores of the other.

    Returns:
        Differences, paired by volume.

    Raises:
        SettingsError: Other protocols, or other volumes.
    """
    if (first.protocol, first.spec) != (second.protocol, second.spec):
        found = f"protocols {first.protocol} [{first.spec}] and {second.protocol} [{second.spec}]"
        raise SettingsError("comparison", found, "one protocol", "evaluate both by the same one")
    aggregation = protocol_named(first.protocol).aggregation
    pairs: dict[Cell, list[tuple[VolumeScores, VolumeScores]]] = defaultdict(list)
    for a, b in _paired(first, second):
        pairs[cell_of(a)].append((a, b))
    cells = []
    for cell in sorted(pairs):
        differences = [volume_mean(b) - volume_mean(a) for a, b in pairs[cell]]
        weights = weights_of([a for a, _ in pairs[cell]], aggregation)
        mean = fmean(differences, weights=weights)
        ci95 = bootstrap_interval(differences, weights)
        cells.append(CellDifference(*cell, len(differences), mean, ci95))
    return Comparison(first.protocol, second.total - first.total, tuple(cells))


def _paired(first: Scores, second: Scores) -> list[tuple[VolumeScores, VolumeScores]]:
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


def _by_key(scores: Scores) -> dict[Key, VolumeScores]:
    """Volumes by name and cell; two of one name and cell are told apart by their order."""
    found: dict[Key, VolumeScores] = {}
    seen: Counter[tuple[str, Cell]] = Counter()
    for volume in scores.volumes:
        name, cell = volume.name, volume.cell or UNKNOWN
        found[name, cell, seen[name, cell]] = volume
        seen[name, cell] += 1
    return found
