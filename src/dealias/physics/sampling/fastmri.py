"""FastMRI's random and equispaced masks (Zbontar et al. 2018)."""

from __future__ import annotations

import numpy as np

from dealias.physics.sampling.mask import SamplingMask

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
