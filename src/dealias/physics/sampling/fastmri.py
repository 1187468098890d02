"""FastMRI's five families of masks (Zbontar et al. 2018, arXiv:1811.08839).

Each is a function of its offset or generator; with the same numbers drawn, each equals fastMRI
0.3.0's mask line by line.
"""

from __future__ import annotations

import numpy as np

from dealias.errors import SettingsError
from dealias.physics.sampling.mask import Bools, SamplingMask

Random = np.random.Generator | np.random.RandomState


def acs_range(width: int, centre_fraction: float) -> tuple[int, int]:
    """FastMRI's ACS: round(fraction W) columns from (W - n + 1)//2 on."""
    count = round(width * centre_fraction)
    start = (width - count + 1) // 2
    return start, start + count


def equispaced_mask(
    width: int, acceleration: int, centre_fraction: float, offset: int
) -> SamplingMask:
    """Every R-th column from `offset` on, and the ACS.

    Args:
        width: W.
        acceleration: R.
        centre_fraction: Share of ACS lines.
        offset: First lattice column, below R.

    Returns:
        The mask, of family "equispaced".
    """
    start, stop = acs_range(width, centre_fraction)
    lines = np.zeros(width, dtype=bool)
    lines[offset % acceleration :: acceleration] = True
    lines[start:stop] = True
    first = offset % acceleration
    return SamplingMask(lines, (start, stop), float(acceleration), "equispaced", first)


def random_mask(width: int, acceleration: int, centre_fraction: float, rng: Random) -> SamplingMask:
    """Columns drawn independently so that the expected total is W / R, and the ACS.

    Args:
        width: W.
        acceleration: R, of all columns together.
        centre_fraction: Share of ACS lines.
        rng: One uniform draw a column.

    Returns:
        The mask, of family "random".
    """
    start, stop = acs_range(width, centre_fraction)
    count = stop - start
    probability = (width / acceleration - count) / (width - count)
    lines = rng.uniform(size=width) < probability
    lines[start:stop] = True
    return SamplingMask(lines, (start, stop), float(acceleration), "random")


def equispaced_fraction_mask(
    width: int, acceleration: int, centre_fraction: float, offset: int
) -> SamplingMask:
    """Columns spread so that all together, ACS included, are about W / R.

    The spacing is no whole number, so the columns are only nearly equispaced and GRAPPA kernels do
    not fit: it is the rule of the public multi-coil data.

    Args:
        width: W.
        acceleration: R, of all columns together.
        centre_fraction: Share of ACS lines.
        offset: First column.

    Returns:
        The mask, of family "equispaced_fraction".

    Raises:
        SettingsError: The ACS lines alone are W / R or more.
    """
    start, stop = acs_range(width, centre_fraction)
    spacing = fraction_spacing(width, acceleration, centre_fraction)
    lines = np.zeros(width, dtype=bool)
    lines[np.around(np.arange(offset, width - 1, spacing)).astype(int)] = True
    lines[start:stop] = True
    return SamplingMask(lines, (start, stop), float(acceleration), "equispaced_fraction", offset)


def fraction_spacing(width: int, acceleration: int, centre_fraction: float) -> float:
    """Spacing of `equispaced_fraction_mask`; starts are drawn below its rounded value.

    Raises:
        SettingsError: The ACS lines alone are W / R or more.
    """
    start, stop = acs_range(width, centre_fraction)
    count = stop - start
    if count * acceleration >= width:
        found = f"{count} ACS lines of {width}"
        expected = f"fewer than W / R = {width / acceleration:g}"
        raise SettingsError("masks.centre_fraction", found, expected, "choose a smaller share")
    return acceleration * (count - width) / (count * acceleration - width)


def magic_mask(width: int, acceleration: int, centre_fraction: float, offset: int) -> SamplingMask:
    """Every R-th column on either side of the centre, the two sides shifted against each other.

    Where an image is nearly real its k-space is nearly conjugate symmetric, so lines whose mirror
    images fall between each other's tell more (Defazio 2019, arXiv:1912.01101).

    Args:
        width: W.
        acceleration: R.
        centre_fraction: Share of ACS lines.
        offset: Which of the R pairs of shifts.

    Returns:
        The mask, of family "magic".
    """
    start, stop = acs_range(width, centre_fraction)
    lines = _two_sided(width, acceleration, offset)
    lines[start:stop] = True
    return SamplingMask(lines, (start, stop), float(acceleration), "magic", offset)


def magic_fraction_mask(
    width: int, acceleration: int, centre_fraction: float, offset: int
) -> SamplingMask:
    """Like `magic_mask`, with about W / R columns together, ACS included.

    Args:
        width: W.
        acceleration: R, of all columns together.
        centre_fraction: Share of ACS lines, at most W / R of them.
        offset: Which pair of shifts, below `magic_fraction_spacing`.

    Returns:
        The mask, of family "magic_fraction".
    """
    count, spacing = magic_fraction_spacing(width, acceleration, centre_fraction)
    start = (width - count + 1) // 2
    lines = _two_sided(width, spacing, offset) if spacing else np.zeros(width, dtype=bool)
    lines[start : start + count] = True
    acs = (start, start + count)
    return SamplingMask(lines, acs, float(acceleration), "magic_fraction", offset)


def magic_fraction_spacing(
    width: int, acceleration: int, centre_fraction: float
) -> tuple[int, int]:
    """ACS lines and spacing of `magic_fraction_mask`; spacing 0 where the ACS lines are all."""
    wanted = round(width / acceleration)
    count = max(min(round(width * centre_fraction), wanted), 1)
    return count, round(width / (wanted - count)) if wanted > count else 0


def _two_sided(width: int, spacing: int, offset: int) -> Bools:
    """Frequencies offset + spacing k on the right and, shifted, on the left of the centre."""
    right, left = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    lines = np.zeros(width, dtype=bool)
    lines[width // 2 + right :: spacing] = True
    # the left side counts outwards from frequency -1
    lines[: width // 2][::-1][left::spacing] = True
    return lines
