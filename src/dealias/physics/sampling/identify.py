"""Which rule made a mask, from the mask alone."""

from __future__ import annotations

import numpy as np

from dealias.physics.sampling.mask import Bools, SamplingMask, contiguous_centre
from dealias.physics.sampling.planes import identify_plane
from dealias.physics.sampling.recognise import RATES, recognised
from dealias.physics.sampling.snu import snu_mask


def identify(lines: Bools) -> SamplingMask:
    """Find a mask's family, nominal acceleration, lattice offset and ACS.

    Rules are tried in this order: full, snu, equispaced, equispaced_fraction, magic,
    magic_fraction, partial_fourier, two_lattices, binned. Where several give the same lines the
    first is named, so that the lines are always those of the named rule:

    - magic_fraction whose spacing is X16 or less has the lines of magic at that spacing;
    - magic, two_lattices and the two fractions may come to one lattice: equispaced, or snu;
    - a mask with fewer than 4 lines (binned: 8 whole bins) outside the ACS is not told.

    A full mask has its full width as ACS. A line that touches the ACS is told from an ACS line
    where the rule says so; where both are possible, the ACS is the wider. Masks that follow no
    known rule are "random" if they have ACS lines, else "custom", with the true contiguous run
    around the centre as ACS; the acceleration of "random" is W over the number of lines, rounded.
    Only a single lattice has an offset. For masks over two axes see `identify_plane`.

    Args:
        lines: (W,) or (H, W) bool.

    Returns:
        The mask with all that was found.
    """
    lines = np.asarray(lines, dtype=bool)
    if lines.ndim == 2:
        return identify(lines[0]) if (lines == lines[:1]).all() else identify_plane(lines)
    run = contiguous_centre(lines)
    if lines.all():
        return SamplingMask(lines, (0, lines.size), 1.0, "full", 0)
    rule = public_rule(lines)
    if rule is not None:
        return rule
    lattice = _lattice(lines, run)
    if lattice is not None:
        acceleration, offset = lattice
        acs = _without_touching(lines, run, acceleration, offset)
        return SamplingMask(lines, acs, float(acceleration), "equispaced", offset)
    known = recognised(lines, run)
    if known is not None:
        return known
    if run[1] - run[0] < 2:
        return SamplingMask(lines, run, None, "custom")
    nominal = lines.size / max(int(lines.sum()), 1)
    return SamplingMask(lines, run, float(round(nominal)), "random")


def public_rule(lines: Bools) -> SamplingMask | None:
    """The challenge's mask that has exactly these lines, at any acceleration from 2 to 16.

    Args:
        lines: (W,) bool; no mask over two axes is the rule's.

    Returns:
        The mask, or None.
    """
    if lines.ndim == 2:
        return None
    rules = (snu_mask(lines.size, acceleration) for acceleration in RATES)
    return next((rule for rule in rules if np.array_equal(rule.lines, lines)), None)


def _lattice(lines: Bools, run: tuple[int, int]) -> tuple[int, int] | None:
    """(R, offset) if the lines outside the central run are exactly every R-th column."""
    outside = np.flatnonzero(lines)
    outside = outside[(outside < run[0]) | (outside >= run[1])]
    if outside.size < 2:
        return None
    acceleration = int(np.diff(outside).min())
    if acceleration not in RATES:
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
