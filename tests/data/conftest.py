"""A sound data set on disk, to be spoiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dealias.data.findings import Finding
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Cell, Geometry, Scan

Spoil = Callable[[h5py.File], None]
Z, C, H, W, TARGET = 3, 4, 28, 24, 20


def coil_kspace(seed: int) -> np.ndarray:
    """k-space of blobs seen by smooth coils, and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : H * 1j, -1 : 1 : W * 1j]
    centres = rng.uniform(-0.5, 0.5, (Z, 6, 2))
    blobs = np.exp(-40 * ((y - centres[..., :1, None]) ** 2 + (x - centres[..., 1:, None]) ** 2))
    maps = np.stack([np.exp(-((x - a) ** 2) - (y - b) ** 2 + 2j * a * x)
                     for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))])  # fmt: skip
    images = 1e-4 * blobs.sum(1)[:, None] * maps
    noise = rng.standard_normal((2, Z, C, H, W)) * 1e-6
    kspace = fft(torch.from_numpy(images.astype(np.complex64))).numpy()
    return (kspace + noise[0] + 1j * noise[1]).astype(np.complex64)


def write_pair(folder: Path, name: str, seed: int, masked: bool = False) -> tuple[Path, Path]:
    """kspace/NAME.h5 and image/NAME.h5, as the challenge has them."""
    kspace, lines = coil_kspace(seed), snu_mask(W, 4).lines
    top, left = (H - TARGET) // 2, (W - TARGET) // 2
    label = rss(ifft(torch.from_numpy(kspace)), 1).numpy()
    label = label[:, top : top + TARGET, left : left + TARGET]
    paths = folder / "kspace" / f"{name}.h5", folder / "image" / f"{name}.h5"
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(paths[0], "w") as file:
        file["kspace"] = kspace * lines if masked else kspace
        file["mask"] = lines.astype(np.float32)
        file.attrs["patient_id"] = np.bytes_(f"p{seed}")
    with h5py.File(paths[1], "w") as file:
        file["image_label"] = label
        file.attrs["max"] = label.max()
    return paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training scans, one to validate on, one of the leaderboard."""
    root = tmp_path / "data"
    for number, (split, masked) in enumerate(
        [("train", False), ("train", False), ("val", False), ("leaderboard/acc4", True)]
    ):
        write_pair(root / split, f"brain_acc4_{number}", number, masked)
    return root


@pytest.fixture
def spoil(root: Path) -> Callable[..., Path]:
    """spoil(change) changes the first training scan's k-space file (or its image file)."""

    def apply(change: Spoil, folder: str = "kspace") -> Path:
        path = root / "train" / folder / "brain_acc4_0.h5"
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return apply


@pytest.fixture(scope="session")
def pair() -> Callable[..., tuple[Path, Path]]:
    """write_pair(folder, name, seed, masked=False)."""
    return write_pair


@dataclass(frozen=True)
class Ellipses:
    """In memory: bright ellipses of another size and place on each slice, far from the edges."""

    kspace_ZCHW: np.ndarray

    def kspace(self, z: slice) -> np.ndarray:
        return self.kspace_ZCHW[z]

    def image(self, kind: str, z: slice) -> None:
        return None


@pytest.fixture
def ellipses() -> Scan:
    """Three slices of 112 x 96, targets of 96 x 88, seen by two coils."""
    y, x = np.indices((112, 96)) - np.array([56, 48])[:, None, None]
    inside = [((y - 2 * z) / (16 + z)) ** 2 + ((x + z) / (10 + z)) ** 2 < 1 for z in range(3)]
    maps = np.stack([np.exp(1j * x / 30), 0.5 + x / 200])
    bright = (1 + 0.002 * y) * np.array([1.0, 1.3, 0.8])[:, None, None]
    images = 1e-4 * (np.stack(inside) * bright)[:, None] * maps
    kspace = fft(torch.from_numpy(images.astype(np.complex64))).numpy()
    return Scan("ellipses", kspace.shape, snu_mask(96, 4), True, Geometry((112, 96), (96, 88)),
                Ellipses(kspace), Cell("brain", 4))  # fmt: skip


@pytest.fixture
def complaints() -> Callable[[Iterable[Finding]], list[tuple[str, str, str]]]:
    """complaints(findings): (level, item, found) of everything that is not PASS."""

    def apart(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
        return [(one.level, one.item, one.found) for one in findings if one.level != "PASS"]

    return apart
