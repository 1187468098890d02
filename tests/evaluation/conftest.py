"""A small data set on disk in the SNU layout, and scores made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dealias.io.volume import Volume
from dealias.io.write_snu import write_snu
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Cell

MakeVolume = Callable[..., VolumeScores]
HW = (48, 40)


@pytest.fixture
def volume_scores() -> MakeVolume:
    def make(
        name: str,
        cell: Cell | None,
        ssim: Sequence[float | None],
        protocol: str = "snu2025",
        regions: Sequence[int] | None = None,
    ) -> VolumeScores:
        counts = regions or [0 if one is None else 1 for one in ssim]
        slices = tuple(
            SliceScores(z, one, 30.0 + z, 0.01, count)
            for z, (one, count) in enumerate(zip(ssim, counts, strict=True))
        )
        return VolumeScores(name, cell, protocol, slices, 31.0, 0.02)

    return make


def subject(anatomy: str, acceleration: int, name: str, seed: int) -> Volume:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    inside = ((rows - 22) / 15) ** 2 + ((columns - 20) / 12) ** 2 < 1
    noise = np.stack([ndimage.gaussian_filter(rng.random(HW), 1) for _ in range(2)])
    target = (inside * (1e-4 + 6e-4 * noise) + 1e-6 * rng.random((2, *HW))).astype(np.float32)
    return Volume(
        name=name,
        kspace_ZCHW=np.ones((2, 1, *HW), np.complex64),
        mask=snu_mask(HW[1], acceleration),
        full=True,
        anatomy=anatomy,
        acceleration=acceleration,
        target_ZHW=target,
    )


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """Eight volumes: brain and knee, x4 and x8; the same names in both accelerations."""
    root = tmp_path / "data"
    seed = 0
    for acceleration in (4, 8):
        for name in ("brain_test1", "brain_test2", "knee_test1", "knee_test2"):
            volume = subject(name.split("_")[0], acceleration, name, seed)
            write_snu(root, f"leaderboard/acc{acceleration}", volume)
            seed += 1
    return root / "leaderboard"
