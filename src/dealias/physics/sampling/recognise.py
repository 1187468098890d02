"""Telling a family of 1-D masks and its parameters from the lines, by making the mask anew.

A rule is tried only at the accelerations and starts that the gaps between the lines allow, and
named only where it gives exactly these lines. The rules are tried in the order of how few masks
they can make: one that matches by chance is the last to be named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dealias.errors import SettingsError
from dealias.physics.sampling import density, fastmri
from dealias.physics.sampling.mask import Bools, SamplingMask

RATES = range(2, 17)
"""Accelerations that are looked for."""
FEWEST_LINES, FEWEST_BINS = 4, 8
"""With fewer lines (bins with one line each) outside the ACS, chance alone would fit some rule."""
_TOUCHING = 4
"""At most so many columns of the central run belong to the rule and not to the ACS."""

Run = tuple[int, int]


@dataclass(frozen=True)
class Clues:
    """What is read off the lines before any rule is tried.

    Attributes:
        lines: (W,) bool.
        run: The contiguous run of lines around the centre: the ACS, and lines that touch it.
        outside: Columns of the other lines.
        gaps: The smallest and the largest distance between neighbours on one side, or None.
    """

    lines: Bools
    run: Run
    outside: npt.NDArray[np.intp]
    gaps: tuple[int, int] | None

    @classmethod
    def of(cls, lines: Bools, run: Run) -> Clues:
        """Read them."""
        sampled = np.flatnonzero(lines)
        left, right = sampled[sampled < run[0]], sampled[sampled >= run[1]]
        apart = np.concatenate([np.diff(left), np.diff(right)])
        gaps = (int(apart.min()), int(apart.max())) if apart.size else None
        return cls(lines, run, np.concatenate([left, right]), gaps)

    @property
    def rate(self) -> int | None:
        """The distance of all neighbours, if there is one."""
        even = self.gaps is not None and self.gaps[0] == self.gaps[1]
        return self.gaps[0] if even and self.gaps is not None else None

    def shares(self, fewer: int = 2) -> Iterator[float]:
        """Shares of ACS lines that fit into the run where fastMRI's rule puts them, widest first.

        A run is longer than its ACS by the lines that touch it.
        """
        width, widest = self.lines.size, self.run[1] - self.run[0]
        while widest > 0 and not _fits(fastmri.acs_range(width, widest / width), self.run):
            widest -= 1
        for count in range(widest, max(widest - fewer, 0) - 1, -1):
            yield count / width


def recognised(lines: Bools, run: Run) -> SamplingMask | None:
    """The first family whose rule gives exactly these lines.

    Args:
        lines: (W,) bool, neither full nor one lattice.
        run: The contiguous run of lines around the centre.

    Returns:
        The mask with family, acceleration and ACS, the widest that fits; or None.
    """
    clues = Clues.of(lines, run)
    if clues.outside.size < FEWEST_LINES:
        return None
    for mask in _candidates(clues):
        if np.array_equal(mask.lines, lines):
            # an offset is what says that a mask is one lattice, which these are not
            return replace(mask, offset=None)
    return _binned(clues)


def _candidates(clues: Clues) -> Iterator[SamplingMask]:
    for rule in (_fractions, _magic, _magic_fractions, _partial, _lattices):
        for share in clues.shares():
            yield from rule(clues, share)


def _fractions(clues: Clues, share: float) -> Iterator[SamplingMask]:
    width, first = clues.lines.size, int(clues.lines.argmax())
    for rate in RATES:
        try:
            spacing = fastmri.fraction_spacing(width, rate, share)
        except SettingsError:
            continue  # this many ACS lines leave no room at this acceleration
        fits = clues.gaps and int(spacing) <= clues.gaps[0] <= clues.gaps[1] <= int(spacing) + 1
        if fits and first < round(spacing):
            yield fastmri.equispaced_fraction_mask(width, rate, share, first)


def _magic(clues: Clues, share: float) -> Iterator[SamplingMask]:
    width, rate = clues.lines.size, clues.rate
    if rate is not None and rate in RATES:
        for offset in range(rate):
            yield fastmri.magic_mask(width, rate, share, offset)


def _magic_fractions(clues: Clues, share: float) -> Iterator[SamplingMask]:
    width = clues.lines.size
    for rate in RATES:
        spacing = fastmri.magic_fraction_spacing(width, rate, share)[1]
        if spacing == clues.rate:
            for offset in range(spacing):
                yield fastmri.magic_fraction_mask(width, rate, share, offset)


def _partial(clues: Clues, share: float) -> Iterator[SamplingMask]:
    """A lattice that starts at one edge and stops beyond the centre, from either side."""
    rate, width = clues.rate, clues.lines.size
    if rate is None or rate not in RATES:
        return
    for step in (1, -1):
        columns = np.sort(clues.outside if step == 1 else width - 1 - clues.outside)
        first, last = int(columns[0]), int(columns[-1])
        if first < rate and last + rate > width / 2:
            lines = np.zeros(width, dtype=bool)
            lines[first : last + 1 : rate] = True
            yield density.with_acs(lines[::step].copy(), rate, share, "partial_fourier")


def _lattices(clues: Clues, share: float) -> Iterator[SamplingMask]:
    rate, middle = clues.rate, clues.lines.size // 2
    right = clues.outside[clues.outside >= clues.run[1]]
    if rate is not None and rate in RATES and right.size:
        starts = int(clues.outside[0]), int(right[0] - middle) % rate
        lines = density.two_lattices(clues.lines.size, rate, *starts)
        yield density.with_acs(lines, rate, share, "two_lattices")


def _binned(clues: Clues) -> SamplingMask | None:
    """One line in every bin of R, but for bins that the ACS reaches into."""
    width = clues.lines.size
    for share in clues.shares(_TOUCHING):
        start, stop = fastmri.acs_range(width, share)
        apart = clues.lines.astype(int)
        apart[start:stop] = 0
        for rate in RATES:
            starts = np.arange(0, width, rate)
            counts = np.add.reduceat(apart, starts)
            whole = counts[(np.minimum(starts + rate, width) <= start) | (starts >= stop)]
            if whole.size >= FEWEST_BINS and (whole == 1).all() and (counts <= 1).all():
                return SamplingMask(clues.lines, (start, stop), float(rate), "binned")
    return None


def _fits(inner: Run, outer: Run) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]
