"""Uncertainty of a mean over people, not over slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dealias.randomness import generator

RESAMPLES = 2000


def bootstrap_interval(
    volumes: Sequence[Sequence[float]], seed: int = 0, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean over slices, resampling whole volumes.

    Slices of one person are alike: resampling them alone would make the interval too narrow.

    Args:
        volumes: Scores of each volume's slices.
        seed: The draws are counted, so the interval is the same every time.
        level: Coverage.

    Returns:
        (low, high), or None for fewer than two volumes.
    """
    if len(volumes) < 2:
        return None
    sums = np.array([sum(volume) for volume in volumes])
    counts = np.array([len(volume) for volume in volumes])
    draws = generator(seed, "bootstrap").integers(len(volumes), size=(RESAMPLES, len(volumes)))
    means = sums[draws].sum(1) / np.maximum(counts[draws].sum(1), 1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
