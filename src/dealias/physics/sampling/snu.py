"""The SNU FastMRI Challenge's mask rule, the same in every year and for every anatomy."""

from __future__ import annotations

import numpy as np

from dealias.errors import SettingsError
from dealias.physics.sampling.mask import SamplingMask

CENTRE_FRACTION = 0.08


def snu_mask(width: int, acceleration: int) -> SamplingMask:
    """The challenge's equispaced mask.

    ACS lines: round(0.08 W) from (W - n + 1)//2 on. Lattice: (W//2) % R, + R, + 2R ... through the
    last column that it meets.

    Args:
        width: W, the number of phase-encode columns.
        acceleration: Nominal acceleration R.

    Returns:
        The mask, of family "snu".

    Raises:
        SettingsError: The width or the acceleration is below 1.
    """
    if width < 1 or acceleration < 1:
        found = f"width {width}, acceleration {acceleration}"
        raise SettingsError("SNU mask", found, "both at least 1", "check the k-space's last axis")
    count = round(CENTRE_FRACTION * width)
    start = (width - count + 1) // 2
    offset = (width // 2) % acceleration
    lines = np.zeros(width, dtype=bool)
    lines[offset::acceleration] = True
    lines[start : start + count] = True
    return SamplingMask(lines, (start, start + count), float(acceleration), "snu", offset)
