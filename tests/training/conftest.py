"""A data set in memory and a job that trains on it in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dealias.data.remask import MaskSettings
from dealias.metrics.protocol import PROTOCOLS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Cell, Geometry, Scan
from dealias.training.loop import TrainingJob
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings

TINY = VarNetSettings(cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1)


@dataclass(frozen=True)
class Memory:
    """A scan's source in memory."""

    kspace_ZCHW: Any

    def kspace(self, z: slice) -> Any:
        return self.kspace_ZCHW[z]

    def image(self, kind: str, z: slice) -> Any:
        if kind != "target":
            return None
        coil_images = ifft(torch.from_numpy(self.kspace_ZCHW[z]))
        return rss(coil_images, 1).numpy()


def make_scan(number: int, hw: tuple[int, int] = (24, 20), slices: int = 2) -> Scan:
    """Smooth random objects seen by three coils; full k-space."""
    rng = np.random.default_rng(number)
    h, w = hw
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    inside = (x**2 + y**2 < 0.7) * (1 + 0.3 * np.sin(5 * x + number) * np.cos(4 * y))
    maps = np.stack([np.exp(-((x - a) ** 2) + 1j * a * y) for a in (-1, 0, 1)])
    images = inside * maps * rng.uniform(0.7, 1.3, (slices, 1, 1, 1)) * 1e-4
    kspace = fft(torch.from_numpy(images.astype(np.complex64)))
    noise = torch.randn(kspace.shape, dtype=torch.complex64,
                        generator=torch.Generator().manual_seed(number))  # fmt: skip
    kspace = (kspace + 1e-6 * noise).numpy()
    source = Memory(kspace)
    top = float(source.image("target", slice(None)).max())
    return Scan(
        f"s{number}", kspace.shape, snu_mask(w, 4), True, Geometry(hw, hw), source,
        Cell("knee", 4), top,
    )  # fmt: skip


@pytest.fixture(name="make_scan")
def _make_scan() -> Callable[..., Scan]:
    """make_scan(number, hw=(24, 20), slices=2)."""
    return make_scan


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., TrainingJob]:
    """make_job(folder name, training settings ...) -> a job with fresh weights."""
    scans = (make_scan(1), make_scan(2), make_scan(3, hw=(20, 24)), make_scan(4))

    def make(
        name: str, schedule: ScheduleSettings | None = None,
        optimiser: OptimiserSettings | None = None, **training: Any,
    ) -> TrainingJob:  # fmt: skip
        torch.manual_seed(0)
        settings = TrainingSettings(**{"epochs": 2, "save_minutes": None, **training})
        folder = tmp_path / name / "main"
        folder.mkdir(parents=True, exist_ok=True)
        return TrainingJob(
            VarNet(TINY), MaskSettings(kind="random", accelerations=(2, 3)), LossSettings(),
            optimiser or OptimiserSettings(lr=1e-2), schedule or ScheduleSettings(), settings,
            scans, (make_scan(9),), PROTOCOLS["fastmri"], folder, torch.device("cpu"),
        )  # fmt: skip

    return make


@pytest.fixture
def stop_after() -> Callable[[TrainingJob, int], TrainingJob]:
    """stop_after(job, n): the job is asked to stop at its n-th step."""

    def stopping(job: TrainingJob, steps: int) -> TrainingJob:
        count = [0]

        def stop() -> str | None:
            count[0] += 1
            return "asked" if count[0] >= steps else None

        return replace(job, stop=stop)

    return stopping
