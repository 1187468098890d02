"""Scores of one cell: anatomy x acceleration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any, NamedTuple

from dealias.evaluation.aggregate import pooled_mean, volume_mean, weights_of
from dealias.evaluation.statistics import bootstrap_interval
from dealias.metrics.protocol import Aggregation
from dealias.metrics.scores import VolumeScores
from dealias.scan.scan import Cell

WORST = 5


class WorstSlice(NamedTuple):
    """A slice to look at first: its volume, index and SSIM."""

    name: str
    z: int
    ssim: float


@dataclass(frozen=True)
class CellScores:
    """Scores of one anatomy x acceleration.

    Attributes:
        anatomy: Or "unknown".
        acceleration: Nominal, or 0 where unknown.
        volumes: How many have a scored slice.
        slices: How many slices were scored.
        mean: SSIM over slices (over boxes, or over volumes where the protocol says so).
        median: Of slices, or of volumes where the protocol takes the mean over volumes.
        ci95: Bootstrap interval of the mean over volumes, or None for a single volume.
        psnr: Mean over volumes of the volume's PSNR in dB; None if one has no finite value.
        nmse: Mean over volumes of the volume's NMSE; None if one has no finite value.
        worst: The five slices of lowest SSIM.
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
    worst: tuple[WorstSlice, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        ends = None if self.ci95 is None else list(self.ci95)
        return {**asdict(self), "ci95": ends, "worst": [one._asdict() for one in self.worst]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> CellScores:
        """The cell that `to_json` wrote.

        Raises:
            KeyError, TypeError: A part is missing or of another kind.
        """
        low_high = value["ci95"]
        ends = None if low_high is None else (float(low_high[0]), float(low_high[1]))
        worst = tuple(WorstSlice(**one) for one in value["worst"])
        return CellScores(**{**value, "ci95": ends, "worst": worst})


def cell_scores(
    cell: Cell, volumes: Sequence[VolumeScores], aggregation: Aggregation
) -> CellScores:
    """Put the volumes of a cell together.

    Args:
        cell: Which one.
        volumes: Its volumes, each with a scored slice.
        aggregation: The protocol's.

    Returns:
        The cell's scores.
    """
    means = [volume_mean(volume) for volume in volumes]
    slices = [ssim for volume in volumes for ssim in volume.ssim]
    return CellScores(
        anatomy=cell.anatomy,
        acceleration=cell.acceleration,
        volumes=len(volumes),
        slices=len(slices),
        mean=pooled_mean(volumes, aggregation),
        median=median(means if aggregation == "mean of volumes" else slices),
        ci95=bootstrap_interval(means, weights_of(volumes, aggregation)),
        psnr=_mean([volume.psnr for volume in volumes]),
        nmse=_mean([volume.nmse for volume in volumes]),
        worst=_worst(volumes),
    )


def _worst(volumes: Sequence[VolumeScores]) -> tuple[WorstSlice, ...]:
    slices = [
        WorstSlice(volume.name, one.z, one.ssim)
        for volume in volumes
        for one in volume.slices
        if one.ssim is not None
    ]
    return tuple(sorted(slices, key=lambda one: (one.ssim, one.name, one.z))[:WORST])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    # a mean of the rest would hide the volume that has none
    return fmean(known) if len(known) == len(values) else None
