"""Scores of a data set: cells, volumes, and the protocol's own total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from dealias.errors import DataError, SettingsError
from dealias.evaluation.statistics import bootstrap_interval
from dealias.metrics.protocol import ScoringProtocol
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Cell

WORST = 5


@dataclass(frozen=True)
class CellScores:
    """Scores of one anatomy x acceleration.

    Attributes:
        anatomy: Or "unknown".
        acceleration: Or 0.
        volumes: How many.
        slices: How many were scored.
        mean: SSIM over slices; so is the median.
        median: Of the slices.
        ci95: Bootstrap interval of the mean over volumes, or None for one volume.
        psnr: Mean in dB.
        nmse: Mean.
        worst: Name, slice and SSIM of the worst five.
    """

    anatomy: str
    acceleration: int
    volumes: int
    slices: int
    mean: float
    median: float
    ci95: tuple[float, float] | None
    psnr: float | None
    nmse: float | None
    worst: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class Scores:
    """Scores of a data set by one protocol."""

    protocol: str
    spec: str
    total: float
    cells: tuple[CellScores, ...]
    volumes: tuple[VolumeScores, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values, in the form that score files have."""
        return {
            "protocol": self.protocol,
            "spec": self.spec,
            "total": self.total,
            "cells": [dict(vars(cell)) for cell in self.cells],
            "volumes": [
                {
                    "name": volume.name,
                    "cell": list(volume.cell) if volume.cell else None,
                    "slices": [one._asdict() for one in volume.slices],
                }
                for volume in self.volumes
            ],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Scores:
        """Back from `to_json`.

        Raises:
            DataError: It is no score file.
        """
        try:
            volumes = tuple(_volume(one, values["protocol"]) for one in values["volumes"])
            cells = tuple(_cell(one) for one in values["cells"])
            return cls(values["protocol"], values["spec"], values["total"], cells, volumes)
        except (KeyError, TypeError, ValueError) as error:
            expected = "scores as `dealias evaluate` writes them"
            raise DataError("scores", f"no {error}", expected, "evaluate again") from None


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
            raise SettingsError(volume.name, f"protocol {volume.protocol}", protocol.name)
    if not any(volume.ssim for volume in volumes):
        raise DataError("scores", "no scored slice", "at least one", "check the data set")
    by_cell: dict[Cell, list[VolumeScores]] = defaultdict(list)
    for volume in volumes:
        by_cell[volume.cell or Cell("unknown", 0)].append(volume)
    cells = tuple(_summary(cell, by_cell[cell]) for cell in sorted(by_cell))
    return Scores(protocol.name, protocol.spec, total(protocol, volumes), cells, tuple(volumes))


def total(protocol: ScoringProtocol, volumes: Sequence[VolumeScores]) -> float:
    """The protocol's own total.

    The challenge's is the mean over accelerations of the mean over pooled slices of all anatomies,
    which is not the mean of the cells.
    """
    if protocol.aggregation == "mean of volumes":
        return fmean(fmean(volume.ssim) for volume in volumes if volume.ssim)
    if protocol.aggregation == "mean of slices":
        return fmean(ssim for volume in volumes for ssim in volume.ssim)
    pooled: dict[int, list[float]] = defaultdict(list)
    for volume in volumes:
        pooled[volume.cell.acceleration if volume.cell else 0] += volume.ssim
    return fmean(fmean(slices) for slices in pooled.values() if slices)


def compare(a: Scores, b: Scores) -> float:
    """Difference of two totals.

    Raises:
        SettingsError: They belong to different protocols.
    """
    if (a.protocol, a.spec) != (b.protocol, b.spec):
        do = "evaluate both by one protocol"
        raise SettingsError("comparison", f"protocols {a.protocol} and {b.protocol}", "one", do)
    return a.total - b.total


def _summary(cell: Cell, volumes: list[VolumeScores]) -> CellScores:
    slices = [
        (volume.name, one) for volume in volumes for one in volume.slices if one.ssim is not None
    ]
    ssim = [one.ssim for _, one in slices if one.ssim is not None]
    worst = sorted(slices, key=lambda item: item[1].ssim or 0.0)[:WORST]
    return CellScores(
        anatomy=cell.anatomy,
        acceleration=cell.acceleration,
        volumes=len(volumes),
        slices=len(ssim),
        mean=fmean(ssim) if ssim else 0.0,
        median=median(ssim) if ssim else 0.0,
        ci95=bootstrap_interval([volume.ssim for volume in volumes if volume.ssim]),
        psnr=_mean([one.psnr for _, one in slices]),
        nmse=_mean([one.nmse for _, one in slices]),
        worst=tuple((name, one.z, one.ssim or 0.0) for name, one in worst),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _volume(value: dict[str, Any], protocol: str) -> VolumeScores:
    cell = Cell(*value["cell"]) if value["cell"] else None
    slices = tuple(SliceScores(**one) for one in value["slices"])
    return VolumeScores(value["name"], cell, protocol, slices)


def _cell(value: dict[str, Any]) -> CellScores:
    ends = value["ci95"]
    worst = tuple((str(name), int(z), float(ssim)) for name, z, ssim in value["worst"])
    return CellScores(**{**value, "ci95": tuple(ends) if ends else None, "worst": worst})
