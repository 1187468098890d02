"""Masks beyond fastMRI's: random and two-sided lines, partial Fourier, and two axes at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dealias.errors import SettingsError
from dealias.physics.sampling.fastmri import acs_range
from dealias.physics.sampling.mask import Bools, SamplingMask

Floats = npt.NDArray[np.float64]
_STEPS = 40
"""Bisection steps: the last bit of a number of samples is settled long before."""


def binned_mask(
    width: int, acceleration: int, centre_fraction: float, rng: np.random.Generator
) -> SamplingMask:
    """One random line in every bin of R columns, and the ACS: incoherent, but without large gaps.

    Args:
        width: W; a last, shorter bin gets a line as well.
        acceleration: R.
        centre_fraction: Share of ACS lines.
        rng: One draw a bin.

    Returns:
        The mask, of family "binned".
    """
    lines = np.zeros(width, dtype=bool)
    for start in range(0, width, acceleration):
        lines[start + rng.integers(min(acceleration, width - start))] = True
    return with_acs(lines, acceleration, centre_fraction, "binned")


def bernoulli_mask(
    width: int, acceleration: int, centre_fraction: float, rng: np.random.Generator
) -> SamplingMask:
    """Columns drawn independently, each with chance 1/R, and the ACS besides.

    fastMRI's "random" has W / R columns in all; here the ACS does not count, so that outside of it
    lines are as dense as in a lattice of R.

    Args:
        width: W.
        acceleration: R.
        centre_fraction: Share of ACS lines.
        rng: One draw a column.

    Returns:
        The mask, of family "bernoulli".
    """
    lines = rng.random(width) < 1 / acceleration
    return with_acs(lines, acceleration, centre_fraction, "bernoulli")


def two_lattices_mask(
    width: int, acceleration: int, centre_fraction: float, rng: np.random.Generator
) -> SamplingMask:
    """Every R-th column left and right of the centre, each side from a start of its own.

    Args:
        width: W.
        acceleration: R.
        centre_fraction: Share of ACS lines.
        rng: Two draws.

    Returns:
        The mask, of family "two_lattices".
    """
    left, right = rng.integers(acceleration, size=2)
    lines = two_lattices(width, acceleration, int(left), int(right))
    return with_acs(lines, acceleration, centre_fraction, "two_lattices")


def two_lattices(width: int, acceleration: int, left: int, right: int) -> Bools:
    """Every R-th column from `left` on, and from W//2 + `right` on; no ACS."""
    lines = np.zeros(width, dtype=bool)
    lines[: width // 2][left::acceleration] = True
    lines[width // 2 :][right::acceleration] = True
    return lines


def partial_fourier_mask(
    width: int,
    acceleration: int,
    centre_fraction: float,
    rng: np.random.Generator,
    share: float = 0.75,
) -> SamplingMask:
    """Every R-th column of one share of k-space, none of the rest, and the ACS.

    Args:
        width: W.
        acceleration: R of the lattice.
        centre_fraction: Share of ACS lines.
        rng: Draws the start of the lattice and the side that is left out.
        share: Of k-space that is measured, above one half.

    Returns:
        The mask, of family "partial_fourier".

    Raises:
        SettingsError: A share that leaves out the centre, or nothing.
    """
    if not 0.5 < share <= 1:
        raise SettingsError("share", f"{share:g}", "above 0.5, at most 1", "")
    lines = np.zeros(width, dtype=bool)
    lines[rng.integers(acceleration) :: acceleration] = True
    lines[round(share * width) :] = False
    if rng.integers(2):
        lines = lines[::-1].copy()
    return with_acs(lines, acceleration, centre_fraction, "partial_fourier")


def variable_density_mask(
    hw: tuple[int, int], acceleration: int, centre_fraction: float, rng: np.random.Generator
) -> SamplingMask:
    """Samples drawn independently, less likely with the cube of the distance from the centre.

    Args:
        hw: (H, W), both of them phase encodes.
        acceleration: R: the expected number of samples is H W / R, the centre included.
        centre_fraction: Share of each axis that is fully sampled.
        rng: One draw a sample.

    Returns:
        The mask, of family "variable_density".
    """
    inside, acs = centre_box(hw, centre_fraction)
    falloff = (1 - np.minimum(radius(hw), 1)) ** 3
    wanted = inside.size / acceleration

    def chances(scale: float) -> Floats:
        return np.where(inside, 1.0, np.minimum(scale * falloff, 1.0))

    low, high = 1e-6, 1e6
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if chances(middle).sum() < wanted else (low, middle)
    lines = rng.random(hw) < chances(high)
    return SamplingMask(lines, acs[1], float(acceleration), "variable_density", None, acs[0])


def with_acs(lines: Bools, acceleration: int, centre_fraction: float, family: str) -> SamplingMask:
    """The mask of these lines and the ACS, which is added in place."""
    start, stop = acs_range(lines.size, centre_fraction)
    lines[start:stop] = True
    return SamplingMask(lines, (start, stop), float(acceleration), family)


def centre_box(
    hw: tuple[int, int], fraction: float
) -> tuple[Bools, tuple[tuple[int, int], tuple[int, int]]]:
    """The fully sampled centre (H, W), and its [start, stop) along H and W."""
    rows, columns = (acs_range(size, fraction) for size in hw)
    inside = np.zeros(hw, dtype=bool)
    inside[slice(*rows), slice(*columns)] = True
    return inside, (rows, columns)


def radius(hw: tuple[int, int]) -> Floats:
    """Distance from the centre of k-space, 1 at the middle of each edge."""
    y, x = (2 * (np.arange(size) - size // 2) / size for size in hw)
    return np.hypot(y[:, None], x[None])
