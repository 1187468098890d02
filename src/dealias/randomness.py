"""Counted randomness: every draw is a function of (seed, stream, counters), never of history.

So a run can be resumed in the middle of an epoch, with another number of workers, and draw the
same numbers: there is no generator state to save.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A generator of its own for one purpose and one place in the run.

    Args:
        seed: The run's seed.
        stream: The purpose ("order", "mask", "noise"); streams are independent of each other.
        counters: Where in the run: epoch, sample index.

    Returns:
        A fresh generator; the same arguments give the same draws on every machine.
    """
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), *counters])


def torch_seed(seed: int, stream: str, *counters: int) -> int:
    """A 63-bit seed for torch's generators, counted in the same way."""
    return int(generator(seed, stream, *counters).integers(2**63 - 1))
