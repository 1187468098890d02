"""Which rule made a mask, from the mask alone."""

from __future__ import annotations

import numpy as np

from dealias.physics.sampling.mask import Bools, SamplingMask, contiguous_centre
from dealias.physics.sampling.snu import snu_mask

SLOWEST, FASTEST = 2, 16


def identify(lines: Bools) -> SamplingMask:
    """Find a mask's family, nominal acceleration, lattice offset and ACS.

    A full mask has its full width as ACS. A lattice line that touches the ACS is told from an ACS
    line where the lattice is known. Masks that follow no known rule are "random" if they have ACS
    lines, else "custom", with the true contiguous run around the centre as ACS.

    Args:
        lines: (W,) or (H, W) bool.

    Returns:
        The mask with all that was found.
    """
    lines = np.asarray(lines, dtype=bool)
    if lines.ndim == 2:
        return _two_dimensional(lines)
    run = contiguous_centre(lines)
    if lines.all():
        return SamplingMask(lines, (0, lines.size), 1.0, "full", 0)
    for acceleration in range(SLOWEST, FASTEST + 1):
        rule = snu_mask(lines.size, acceleration)
        if np.array_equal(rule.lines, lines):
            return rule
    lattice = _lattice(lines, run)
    if lattice is not None:
        acceleration, offset = lattice
        acs = _without_touching(lines, run, acceleration, offset)
        return SamplingMask(lines, acs, float(acceleration), "equispaced", offset)
    if run[1] - run[0] < 2:
        return SamplingMask(lines, run, None, "custom")
    nominal = lines.size / max(int(lines.sum()), 1)
    return SamplingMask(lines, run, float(round(nominal)), "random")


def _lattice(lines: Bools, run: tuple[int, int]) -> tuple[int, int] | None:
    """(R, offset) if the lines outside the central run are exactly every R-th column."""
    outside = np.flatnonzero(lines)
    outside = outside[(outside < run[0]) | (outside >= run[1])]
    if outside.size < 2:
        return None
    acceleration = int(np.diff(outside).min())
    if not SLOWEST <= acceleration <= FASTEST:
        return None
    offset = int(outside[0]) % acceleration
    expected = np.zeros_like(lines)
    expected[offset::acceleration] = True
    expected[run[0] : run[1]] = True
    return (acceleration, offset) if np.array_equal(expected, lines) else None


def _without_touching(
    lines: Bools, run: tuple[int, int], acceleration: int, offset: int
) -> tuple[int, int]:
    """Drop a lattice line at either end of the run if the rest is centred better without it."""
    start, stop = run

    def off_centre(a: int, b: int) -> int:
        return abs(a - (lines.size - (b - a) + 1) // 2)

    options = [(start, stop)]
    if start % acceleration == offset and stop - start > 1:
        options.append((start + 1, stop))
    if (stop - 1) % acceleration == offset and stop - start > 1:
        options.append((start, stop - 1))
    if len(options) == 3 and stop - start > 2:
        options.append((start + 1, stop - 1))
    return min(options, key=lambda ends: off_centre(*ends))


def _two_dimensional(lines: Bools) -> SamplingMask:
    rows, columns = lines.shape
    if (lines == lines[:1]).all():
        return identify(lines[0])
    if not lines[rows // 2, columns // 2]:
        middle = columns // 2
        return SamplingMask(lines, (middle, middle), None, "custom", None, (rows // 2, rows // 2))
    # the largest centred box that is fully sampled, grown evenly along both axes
    half = 0
    while _box(lines, half + 1).all() and half + 1 <= min(rows, columns) // 2:
        half += 1
    top, left = max(rows // 2 - half, 0), max(columns // 2 - half, 0)
    bottom, right = min(rows // 2 + half, rows), min(columns // 2 + half, columns)
    family = "full" if lines.all() else "custom"
    if family == "full":
        return SamplingMask(lines, (0, columns), 1.0, family, 0, (0, rows))
    acs, acs_rows = (left, max(right, left + 1)), (top, max(bottom, top + 1))
    return SamplingMask(lines, acs, None, family, None, acs_rows)


def _box(lines: Bools, half: int) -> Bools:
    rows, columns = lines.shape
    top, left = max(rows // 2 - half, 0), max(columns // 2 - half, 0)
    return lines[top : rows // 2 + half, left : columns // 2 + half]
