"""ACS lines that do not lie around the centre of k-space, as the scanner's echo need not either."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dealias.errors import SettingsError
from dealias.physics.sampling.mask import Bools, SamplingMask

_LATTICES = ("snu", "equispaced")
"""Families whose every R-th column is known from their offset."""


def with_moved_acs(mask: SamplingMask, reach: int, rng: np.random.Generator) -> SamplingMask:
    """A mask whose block of ACS lines lies some lines to one side of where it was.

    The block still holds the centre W//2 and is as wide as before; all lines outside it stay. Of
    the lines that it leaves, those of a lattice stay, which runs on below it.

    Args:
        mask: Over phase-encode lines.
        reach: The most lines to either side.
        rng: Draws how far, all distances but 0 alike.

    Returns:
        The mask, of the same nominal acceleration, with the ACS where it now is: "equispaced" where
        it is a lattice, else "random". The same mask where the block cannot be moved.

    Raises:
        SettingsError: The mask is over two axes.
    """
    if mask.lines.ndim == 2:
        found, do = "a mask over two axes", "set masks.jitter=null"
        raise SettingsError("masks.jitter", found, "a mask over phase-encode lines", do)
    start, stop = mask.acs
    least = max(-reach, -start, mask.width // 2 + 1 - stop)
    most = min(reach, mask.width - stop, mask.width // 2 - start)
    shifts = [shift for shift in range(least, most + 1) if shift]
    if not shifts:
        return mask
    shift = int(rng.choice(shifts))
    lattice = _lattice(mask)
    lines = mask.lines.copy()
    lines[start:stop] = False if lattice is None else lattice[start:stop]
    acs = start + shift, stop + shift
    lines[slice(*acs)] = True
    if lattice is None:
        return replace(mask, lines=lines, acs=acs, family="random", offset=None)
    return replace(mask, lines=lines, acs=acs, family="equispaced")


def _lattice(mask: SamplingMask) -> Bools | None:
    """Every R-th column, where that is the mask's rule."""
    if mask.family not in _LATTICES or mask.nominal is None or mask.offset is None:
        return None
    lines = np.zeros_like(mask.lines)
    lines[mask.offset :: int(mask.nominal)] = True
    return lines
