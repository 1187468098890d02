"""How much a slice counts by the anatomy it shows."""

from __future__ import annotations

import math

from dealias.scan.scan import Array


def area_weight(inside_HW: Array, largest: int) -> float:
    """The square root of a slice's foreground, relative to the volume's largest (sMaRtIfy 2025).

    Args:
        inside_HW: The slice's foreground, 1 inside; made anew where an augmentation moved it.
        largest: Foreground pixels of the volume's slice that has most of them. An augmentation that
            enlarges one slice enlarges the others alike, so none weighs more than 1.

    Returns:
        0 (no anatomy) to 1.
    """
    return math.sqrt(min(1.0, float(inside_HW.sum()) / max(largest, 1)))
