"""Lines that were meant to be measured and are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dealias.physics.sampling.mask import SamplingMask


def without_lines(mask: SamplingMask, count: int, rng: np.random.Generator) -> SamplingMask:
    """A mask with some of its lines outside the ACS left out, as lines with artefacts are.

    Args:
        mask: Any; of one over two axes single samples are left out.
        count: How many, or all that there are outside the ACS.
        rng: Draws which, all alike.

    Returns:
        The mask, of the same nominal acceleration and ACS. It follows no rule any more: it has no
        offset, and its family is "random", or "custom" over two axes, as `identify` names such.
    """
    outside = np.flatnonzero(mask.lines & ~mask.acs_lines())
    if not outside.size or not count:
        return mask
    lines = mask.lines.copy()
    lines.flat[rng.choice(outside, min(count, outside.size), replace=False)] = False
    family = "random" if lines.ndim == 1 else "custom"
    return replace(mask, lines=lines, family=family, offset=None)
