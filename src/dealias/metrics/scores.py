"""Scores of one volume, with the protocol they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dealias.scan.scan import Cell


class SliceScores(NamedTuple):
    """Scores of one slice.

    Attributes:
        z: Index of the slice.
        ssim: None where the protocol skips the slice.
        psnr: In dB; None where it has no finite value.
        nmse: None where the reference is zero and the image is not.
    """

    z: int
    ssim: float | None
    psnr: float | None
    nmse: float | None


@dataclass(frozen=True)
class VolumeScores:
    """Scores of one volume.

    Attributes:
        name: The scan's name.
        cell: Anatomy and acceleration, or None where unknown.
        protocol: Name of the protocol.
        slices: One entry for each slice.
    """

    name: str
    cell: Cell | None
    protocol: str
    slices: tuple[SliceScores, ...]

    @property
    def ssim(self) -> list[float]:
        """SSIM of the slices that count."""
        return [one.ssim for one in self.slices if one.ssim is not None]
