"""What a training set looked like, and how a scan differs from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Scan

SCANS_READ = 32
"""K-space of at most so many scans is read to learn the scale of the data."""
SCALE_MARGIN = 10.0
"""Scale may differ by this factor from anything seen in training before it is worth a word."""
ACCELERATION_MARGIN = 1.15
"""The same for the effective acceleration: W and rounding move it by some percent."""

Range = tuple[float, float]


class Profile(BaseModel):
    """The range of data a network was trained on; no names, no paths.

    Attributes:
        rows: (least, most) of H, readout, as encoded.
        columns: (least, most) of W, phase encode.
        coils: (least, most).
        nominal: Nominal accelerations seen, ascending; empty where unknown.
        effective: (least, most) effective acceleration, or None where no mask was known.
        families: Mask families seen.
        scale: (least, most) of the largest k-space magnitude of a slice, in the data's units.
        anatomies: Anatomies by the data set's own labels.
        volumes: How many scans it was made from.
        slices: How many slices they have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[int, int]
    columns: tuple[int, int]
    coils: tuple[int, int]
    nominal: tuple[float, ...] = ()
    effective: Range | None = None
    families: tuple[str, ...] = ()
    scale: Range | None = None
    anatomies: tuple[str, ...] = ()
    volumes: int = 0
    slices: int = 0

    @classmethod
    def of(cls, scans: Sequence[Scan], masks: Iterable[SamplingMask] = ()) -> Profile:
        """The profile of a training set.

        Args:
            scans: At least one.
            masks: The masks training draws, or enough examples of them; where there are none, the
                masks stored with the scans.

        Returns:
            The profile; the middle slice of some scans is read for the scale.
        """
        seen = list(masks) or [scan.mask for scan in scans if scan.mask is not None]
        every = max(1, len(scans) // SCANS_READ)
        scales = [scale for scan in scans[::every] if (scale := peak(scan)) > 0]
        return cls(
            rows=_span(scan.shape[2] for scan in scans),
            columns=_span(scan.shape[3] for scan in scans),
            coils=_span(scan.shape[1] for scan in scans),
            nominal=tuple(sorted({mask.nominal for mask in seen if mask.nominal is not None})),
            effective=_limits([mask.effective for mask in seen]),
            families=tuple(sorted({mask.family for mask in seen})),
            scale=_limits(scales),
            anatomies=tuple(sorted({scan.cell.anatomy for scan in scans if scan.cell})),
            volumes=len(scans),
            slices=sum(scan.slices for scan in scans),
        )

    def warnings(self, scan: Scan, mask: SamplingMask | None = None) -> list[str]:
        """How a scan differs from what the network was trained on.

        Args:
            scan: The scan to be reconstructed; its middle slice is read. Its name and labels play
                no part.
            mask: The mask that will be used; the scan's own if None.

        Returns:
            One sentence for each difference; empty if there is none.
        """
        mask = mask or scan.mask
        _, coils, rows, columns = scan.shape
        return [
            *_outside("readout rows", rows, self.rows),
            *_outside("phase-encode columns", columns, self.columns),
            *_outside("coils", coils, self.coils),
            *(self._about_mask(mask) if mask is not None else []),
            *_outside("largest k-space magnitude", peak(scan), self.scale, SCALE_MARGIN),
        ]

    def _about_mask(self, mask: SamplingMask) -> list[str]:
        said = _outside("acceleration", mask.effective, self.effective, ACCELERATION_MARGIN)
        if self.nominal and mask.nominal is not None and mask.nominal not in self.nominal:
            known = ", ".join(f"{value:g}" for value in self.nominal)
            said.append(f"nominal acceleration {mask.nominal:g} was not trained on ({known} were)")
        if self.families and mask.family not in self.families:
            known = ", ".join(self.families)
            said.append(f"mask family '{mask.family}' was not trained on ({known} were)")
        return said


def peak(scan: Scan) -> float:
    """The largest magnitude of the middle slice's k-space; 0 for a blank slice."""
    if scan.cached is not None:
        return scan.cached.largest
    return float(np.abs(scan.kspace(scan.slices // 2)).max())


def _outside(what: str, value: float, limits: Range | None, margin: float = 1.0) -> list[str]:
    if limits is None or limits[0] / margin <= value <= limits[1] * margin:
        return []
    return [f"{what} {value:.4g}, trained on {limits[0]:.4g} to {limits[1]:.4g}"]


def _span(values: Iterable[int]) -> tuple[int, int]:
    known = list(values)
    return min(known), max(known)


def _limits(values: Sequence[float]) -> Range | None:
    finite = [float(value) for value in values if np.isfinite(value)]
    return (min(finite), max(finite)) if finite else None
