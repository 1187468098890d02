"""The sampling mask: which lines of k-space were measured, and which of them are ACS lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SamplingMask:
    """Which samples of k-space were measured.

    Attributes:
        lines: (W,) bool for a mask over phase-encode lines, or (H, W) bool for a 2-D mask.
        acs: [start, stop) of the contiguous fully sampled ACS lines along W, as integers that
            whoever made the mask knows; never guessed by argmin. start == stop: there are none.
        acs_rows: The same along H, for 2-D masks alone.
        nominal: The nominal acceleration R: the spacing of the lattice outside the ACS (4, 8), or
            None where unknown.
        family: "snu", "equispaced", "random", "full", "custom", ...
        offset: Index of the first lattice column for equispaced families, else None.
    """

    lines: Bools
    acs: tuple[int, int]
    nominal: float | None = None
    family: str = "custom"
    offset: int | None = None
    acs_rows: tuple[int, int] | None = None
    _key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lines = np.array(self.lines, dtype=bool, order="C")  # a copy: the caller's stays its own
        lines.flags.writeable = False
        object.__setattr__(self, "lines", lines)
        object.__setattr__(self, "_key", lines.tobytes())
        if lines.ndim not in (1, 2):
            raise ValueError(f"a mask has 1 or 2 axes, not {lines.ndim}")
        start, stop = self.acs
        if not 0 <= start <= stop <= lines.shape[-1]:
            raise ValueError(f"ACS {self.acs} outside 0..{lines.shape[-1]}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SamplingMask):
            return NotImplemented
        return self.lines.shape == other.lines.shape and self._key == other._key

    def __hash__(self) -> int:
        return hash((self.lines.shape, self._key))

    @property
    def width(self) -> int:
        """W, the number of phase-encode columns."""
        return int(self.lines.shape[-1])

    @property
    def acs_count(self) -> int:
        """Number of ACS lines."""
        return self.acs[1] - self.acs[0]

    @property
    def effective(self) -> float:
        """Effective acceleration: all samples over measured ones; infinite for an empty mask."""
        measured = int(self.lines.sum())
        return self.lines.size / measured if measured else float("inf")

    @property
    def full(self) -> bool:
        """Whether every sample was measured."""
        return bool(self.lines.all())

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes whose transform the mask does not commute with: (-1,) in 1-D, (-2, -1) in 2-D."""
        return (-1,) if self.lines.ndim == 1 else (-2, -1)

    def acs_lines(self) -> Bools:
        """The ACS region alone, of the same shape as `lines`."""
        region = np.zeros_like(self.lines)
        rows = slice(*self.acs_rows) if self.acs_rows else slice(None)
        region[(rows, slice(*self.acs)) if region.ndim == 2 else slice(*self.acs)] = True
        return region

    def psf(self) -> npt.NDArray[np.complex128]:
        """Point-spread function: the centred inverse transform of the mask, 1 at its centre."""
        shifted = np.fft.ifftshift(self.lines.astype(np.float64))
        spread = np.fft.fftshift(np.fft.ifftn(shifted))
        return spread / max(self.lines.mean(), np.finfo(float).tiny)

    @property
    def coherence(self) -> float:
        """Largest sidelobe of |PSF| over its centre: 0 for a full mask, 1 for a lattice of R.

        How strong the strongest alias is before any reconstruction; incoherent sampling keeps it
        low (Lustig et al., Magn Reson Med 58:1182, 2007). A centre that is sampled more densely
        widens the main lobe, and its flanks count too. 0 for an empty mask.
        """
        spread = np.abs(self.psf())
        spread[tuple(size // 2 for size in spread.shape)] = 0
        return float(spread.max())


def contiguous_centre(lines: Sequence[bool] | Bools) -> tuple[int, int]:
    """The true contiguous sampled run [start, stop) around the centre column W//2 of a 1-D mask.

    Used for masks whose maker did not say the ACS. Odd and even counts are found alike, and a full
    mask gives the full width. A lattice line that touches the ACS is part of the run.
    """
    sampled = np.asarray(lines, dtype=bool)
    start = stop = sampled.size // 2
    if not sampled[start]:
        return start, stop
    while start > 0 and sampled[start - 1]:
        start -= 1
    while stop < sampled.size and sampled[stop]:
        stop += 1
    return start, stop
