"""What ranks found apart is what one rank finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np

from dealias.engine.ranks import ALONE, Ranks
from dealias.inference.reconstruct import Reconstruction
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Cell
from dealias.training import reconstruction

SCANS, SLICES = 9, 5


class Threads:
    """Stands for ranks: threads of this process."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier, self.values = size, Barrier(size), [None] * size

    def of(self, rank: int) -> Any:
        threads = self

        class One(Ranks):
            def gather(self, value: Any) -> Any:
                threads.values[rank] = value
                threads.barrier.wait()
                values = list(threads.values)
                threads.barrier.wait()
                return values

        return One(rank, self.size)


def found(ranks: Ranks) -> Any:
    """45 slices with scores that are often equal, of which 24 are shown."""
    rng = np.random.default_rng(1)
    ssim = rng.integers(0, 12, (SCANS, SLICES)) / 12
    part = reconstruction._Part()
    for index in ranks.deal([int(one) for one in rng.integers(1, 9, SCANS)]):
        slices = tuple(SliceScores(z, float(ssim[index, z]), 30.0, 0.1) for z in range(SLICES))
        volume = VolumeScores(f"s{index}", Cell("knee", 4), "fastmri", slices, 30.0, 0.1)
        images = np.full((SLICES, 2, 2), index, np.float32)
        part.add(index, Scan(f"s{index}"), Reconstruction(images, images, None), volume)
    return reconstruction._joined(part, PROTOCOLS["fastmri"], ranks)


class Scan:
    cell, data_range = None, 1.0

    def __init__(self, name: str) -> None:
        self.name = name

    def target(self, z: int) -> Any:
        return np.zeros((1, 2, 2), np.float32)


def test_scores_and_worst_slices_are_those_of_one_rank() -> None:
    alone = found(ALONE)
    assert len(alone.worst) == reconstruction.SHOWN < SCANS * SLICES
    for size in (2, 3, 4):
        threads = Threads(size)
        with ThreadPoolExecutor(size) as pool:
            for one in pool.map(found, map(threads.of, range(size))):
                assert one.scores == alone.scores
                assert [entry[0] for entry in one.worst] == [entry[0] for entry in alone.worst]
