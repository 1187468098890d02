"""Uncertainty of a mean over people, not over slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dealias.randomness import generator

RESAMPLES = 2000


def bootstrap_interval(
    means: Sequence[float],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of a weighted mean, resampling whole volumes (Efron 1979).

    Slices of one person are alike: resampling slices would make the interval too narrow.

    Args:
        means: One number for each volume, such as its mean SSIM, or a paired difference.
        weights: How much each counts, such as its slices; all the same if None.
        seed: The draws are counted, so the same scores have the same interval every time.
        level: Nominal coverage.

    Returns:
        (low, high), or None for fewer than two volumes, which say nothing of their spread.
    """
    count = len(means)
    if count < 2:
        return None
    value = np.asarray(means, dtype=np.float64)
    weight = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    draws = generator(seed, "bootstrap", count).integers(count, size=(RESAMPLES, count))
    resampled = (value * weight)[draws].sum(1) / weight[draws].sum(1)
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
