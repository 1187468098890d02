"""Scores of a data set: cells, volumes, and the protocol's own total."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dealias.atomic import write_json
from dealias.errors import DataError, SettingsError
from dealias.evaluation.aggregate import cell_of, total
from dealias.evaluation.cells import CellScores, WorstSlice, cell_scores
from dealias.metrics.protocol import ScoringProtocol
from dealias.metrics.scores import VolumeScores
from dealias.scan.scan import Cell

__all__ = ["CellScores", "Scores", "WorstSlice", "read_scores", "summarise", "write_scores"]
_EXPECTED = "scores as `dealias evaluate --json` writes them"


@dataclass(frozen=True)
class Scores:
    """Scores of a data set by one protocol.

    Attributes:
        protocol: Its name.
        spec: What a number depends on: window, range, crop, region, aggregation.
        total: The protocol's own total, which need not be the mean of the cells.
        cells: Anatomy x acceleration, sorted.
        volumes: Every volume, in the data set's order.
    """

    protocol: str
    spec: str
    total: float
    cells: tuple[CellScores, ...]
    volumes: tuple[VolumeScores, ...]

    @property
    def unscored(self) -> tuple[str, ...]:
        """Names of volumes of which the protocol skips every slice (no box, no foreground)."""
        return tuple(volume.name for volume in self.volumes if not volume.ssim)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, in the form that score files have."""
        return {
            "protocol": self.protocol,
            "spec": self.spec,
            "total": self.total,
            "cells": [cell.to_json() for cell in self.cells],
            "volumes": [volume.to_json() for volume in self.volumes],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any], where: object = "scores") -> Scores:
        """The scores that `to_json` wrote.

        Args:
            value: JSON values.
            where: What they came from, for the message.

        Returns:
            The scores, equal in every bit.

        Raises:
            DataError: A part is missing or of another kind.
        """
        try:
            protocol, spec = str(value["protocol"]), str(value["spec"])
            cells = tuple(CellScores.from_json(cell) for cell in value["cells"])
            volumes = tuple(VolumeScores.from_json(one, protocol) for one in value["volumes"])
            return Scores(protocol, spec, float(value["total"]), cells, volumes)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            found = f"{type(error).__name__} {error}"
            raise DataError(where, found, _EXPECTED, "evaluate again") from None


def write_scores(path: Path, scores: Scores) -> None:
    """Write a score file, whole or not at all.

    Raises:
        DiskError: The disk is full or may not be written.
    """
    write_json(path, scores.to_json())


def read_scores(path: Path) -> Scores:
    """Read a score file.

    Raises:
        DataError: It is missing, or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        found = f"{type(error).__name__}"
        raise DataError(path, found, _EXPECTED, "evaluate again") from None
    if not isinstance(value, dict):
        raise DataError(path, type(value).__name__, _EXPECTED, "evaluate again")
    return Scores.from_json(value, path)


def summarise(protocol: ScoringProtocol, volumes: Sequence[VolumeScores]) -> Scores:
    """Put volumes together.

    Args:
        protocol: By which all of them were scored.
        volumes: At least one, with at least one scored slice.

    Returns:
        Cells, and the protocol's own total.

    Raises:
        SettingsError: A volume was scored by another protocol.
        DataError: Nothing was scored.
    """
    for volume in volumes:
        if volume.protocol != protocol.name:
            found, do = f"scores of {volume.protocol}", "score all volumes by one protocol"
            raise SettingsError(volume.name, found, protocol.name, do)
    by_cell: dict[Cell, list[VolumeScores]] = defaultdict(list)
    for volume in volumes:
        if volume.ssim:
            by_cell[cell_of(volume)].append(volume)
    if not by_cell:
        found = f"no slice that {protocol.name} scores in {len(volumes)} volumes"
        raise DataError("scores", found, f"at least one ({protocol.region})", "check the data")
    cells = tuple(
        cell_scores(cell, by_cell[cell], protocol.aggregation) for cell in sorted(by_cell)
    )
    whole = total(volumes, protocol.aggregation)
    return Scores(protocol.name, protocol.spec, whole, cells, tuple(volumes))
