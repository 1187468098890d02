"""Scores of one volume, with the protocol they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dealias.scan.scan import Cell


class SliceScores(NamedTuple):
    """Scores of one slice.

    Attributes:
        z: Index of the slice.
        ssim: None where the protocol skips the slice.
        psnr: In dB; None where it has no finite value (image and reference are equal).
        nmse: None where the reference is zero and the image is not.
        regions: How many regions `ssim` is the mean of: 1, or the slice's lesion boxes.
    """

    z: int
    ssim: float | None
    psnr: float | None
    nmse: float | None
    regions: int = 1


@dataclass(frozen=True)
class VolumeScores:
    """Scores of one volume.

    Attributes:
        name: The scan's name.
        cell: Anatomy and acceleration, or None where unknown.
        protocol: Name of the protocol.
        slices: One entry for each slice.
        psnr: Of the whole volume, in dB; None where it has no finite value.
        nmse: Of the whole volume; None where the reference is zero and the image is not.
    """

    name: str
    cell: Cell | None
    protocol: str
    slices: tuple[SliceScores, ...]
    psnr: float | None = None
    nmse: float | None = None

    @property
    def ssim(self) -> list[float]:
        """SSIM of the slices that count."""
        return [one.ssim for one in self.slices if one.ssim is not None]

    @property
    def regions(self) -> list[int]:
        """Regions in each of the slices that count."""
        return [one.regions for one in self.slices if one.ssim is not None]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "name": self.name,
            "cell": self.cell._asdict() if self.cell else None,
            "psnr": self.psnr,
            "nmse": self.nmse,
            "slices": [one._asdict() for one in self.slices],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any], protocol: str) -> VolumeScores:
        """The scores that `to_json` wrote.

        Raises:
            KeyError, TypeError: A part is missing or of another kind.
        """
        return VolumeScores(
            name=value["name"],
            cell=Cell(**value["cell"]) if value["cell"] is not None else None,
            protocol=protocol,
            slices=tuple(SliceScores(**one) for one in value["slices"]),
            psnr=value["psnr"],
            nmse=value["nmse"],
        )
