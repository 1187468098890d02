"""Scans in memory and a tiny network for the tests of this floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from dealias.models.network import Network, NetworkEntry, NetworkSettings
from dealias.physics.fourier import fft
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Estimate, Measurement, Needs
from dealias.scan.scan import Geometry, ImageKind, Scan
from dealias.table import Table


class TinySettings(NetworkSettings):
    """Settings of the network below."""

    name: Literal["tiny"] = "tiny"
    channels: int = 3


class Tiny(Network):
    """One convolution on the zero-filled image."""

    def __init__(self, settings: TinySettings) -> None:
        super().__init__()
        self.needs = Needs(readout_crop=settings.readout_crop)
        self.first = nn.Conv2d(1, settings.channels, 3, padding=1, bias=False)
        self.last = nn.Conv2d(settings.channels, 1, 1, bias=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, measurement: Measurement) -> Estimate:
        """Convolve."""
        image_B1HW = measurement.zero_filled()[:, None]
        return Estimate(self.last(self.first(image_B1HW).relu())[:, 0].abs())


@pytest.fixture
def tiny() -> TinySettings:
    return TinySettings()


@pytest.fixture
def networks() -> Table[NetworkEntry]:
    entry = NetworkEntry("tiny", TinySettings, Tiny, 30, "none", TinySettings(channels=1))
    return Table("network", (entry,))


@pytest.fixture
def network(tiny: TinySettings) -> Network:
    torch.manual_seed(5)
    return Tiny(tiny).eval()


@dataclass(frozen=True)
class Memory:
    """A source that reads from memory."""

    kspace_ZCHW: np.ndarray
    kspace_path: Path | None = None

    def kspace(self, z: slice) -> np.ndarray:
        return self.kspace_ZCHW[z]

    def image(self, kind: ImageKind, z: slice) -> np.ndarray | None:
        return None


def head(slices: int, coils: int, h: int, w: int) -> np.ndarray:
    """Fully sampled k-space of an ellipse with stripes that shrinks from slice to slice."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    volume = []
    for z in range(slices):
        inside = ((x / 0.7) ** 2 + (y / 0.8) ** 2 < 1 - 0.1 * z).float()
        image = inside * (1.5 + torch.cos(20 * x + z) * torch.sin(15 * y))
        angles = torch.arange(coils) * (2 * torch.pi / coils)
        maps = [
            torch.exp(-((x - a.cos()) ** 2 + (y - a.sin()) ** 2) / 1.5 + 1j * a) for a in angles
        ]
        volume.append(fft(torch.stack(maps) * image))
    return torch.stack(volume).to(torch.complex64).numpy()


def lattice(width: int, acceleration: int = 3, acs: int = 12) -> SamplingMask:
    lines = np.zeros(width, bool)
    lines[(width // 2) % acceleration :: acceleration] = True
    start = (width - acs + 1) // 2
    lines[start : start + acs] = True
    return SamplingMask(lines, (start, start + acs), acceleration, "snu")


@pytest.fixture
def make_scan() -> Callable[..., Scan]:
    def make(
        shape: tuple[int, int, int, int] = (3, 4, 40, 36),
        *,
        name: str = "a",
        target_hw: tuple[int, int] = (32, 32),
        kspace: np.ndarray | None = None,
        path: Path | None = None,
        **more: Any,
    ) -> Scan:
        kspace = head(*shape) if kspace is None else kspace
        z, c, h, w = kspace.shape
        more.setdefault("full", False)
        if "mask" not in more:
            more["mask"] = lattice(w)
        return Scan(
            name, (z, c, h, w), geometry=Geometry((h, w), target_hw),
            source=Memory(kspace, path), **more,
        )  # fmt: skip

    return make


@pytest.fixture
def write_kspace() -> Callable[..., Path]:
    """Writes a file of masked k-space with its mask."""

    def write(path: Path, shape: tuple[int, int, int, int] = (2, 4, 40, 36)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = lattice(shape[3])
        with h5py.File(path, "w") as file:
            file["kspace"] = head(*shape) * mask.lines
            file["mask"] = mask.lines.astype(np.float32)
        return path

    return write
