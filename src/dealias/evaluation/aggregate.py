"""From slices to volumes, cells and a total, as a protocol says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from dealias.metrics.protocol import Aggregation
from dealias.metrics.scores import VolumeScores
from dealias.scan.scan import Cell

UNKNOWN = Cell("unknown", 0)
"""Where volumes are counted whose anatomy and acceleration nobody stated."""


def cell_of(volume: VolumeScores) -> Cell:
    """The volume's cell, or UNKNOWN."""
    return volume.cell or UNKNOWN


def volume_mean(volume: VolumeScores) -> float:
    """Mean SSIM over the regions (slices, or lesion boxes) of a volume that has some."""
    return fmean(volume.ssim, weights=volume.regions)


def weights_of(volumes: Sequence[VolumeScores], aggregation: Aggregation) -> list[int]:
    """How much each volume counts in a mean: 1 for fastMRI, its regions for the challenge."""
    per_volume = aggregation == "mean of volumes"
    return [1 if per_volume else sum(volume.regions) for volume in volumes]


def pooled_mean(volumes: Sequence[VolumeScores], aggregation: Aggregation) -> float:
    """Mean SSIM of volumes that each have a scored slice."""
    means = [volume_mean(volume) for volume in volumes]
    return fmean(means, weights=weights_of(volumes, aggregation))


def by_acceleration(volumes: Sequence[VolumeScores], aggregation: Aggregation) -> dict[int, float]:
    """Mean SSIM of each acceleration, all anatomies pooled: the challenge's two numbers."""
    groups: dict[int, list[VolumeScores]] = defaultdict(list)
    for volume in volumes:
        if volume.ssim:
            groups[cell_of(volume).acceleration].append(volume)
    return {rate: pooled_mean(groups[rate], aggregation) for rate in sorted(groups)}


def total(volumes: Sequence[VolumeScores], aggregation: Aggregation) -> float:
    """The protocol's own total.

    The challenge's is the mean over accelerations of the mean over pooled slices of all anatomies,
    which is not the mean of the cells: anatomies with more slices weigh more.

    Args:
        volumes: At least one of them with a scored slice.
        aggregation: The protocol's.

    Returns:
        SSIM.
    """
    if aggregation == "mean of accelerations":
        return fmean(by_acceleration(volumes, aggregation).values())
    return pooled_mean([volume for volume in volumes if volume.ssim], aggregation)
