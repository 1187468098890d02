"""Scans in memory, at the challenge's scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from dealias.scan.scan import Box, Cell, Geometry, ImageKind, Scan

Array = npt.NDArray[Any]
MakeScan = Callable[..., Scan]
BRAIN = Cell("brain", 4)


class Stored:
    """A source that has a target and no k-space."""

    def __init__(self, target_ZHW: Array | None) -> None:
        self.target_ZHW = target_ZHW

    def kspace(self, z: slice) -> Array:
        raise AssertionError("scoring needs no k-space")

    def image(self, kind: ImageKind, z: slice) -> Array | None:
        return self.target_ZHW[z] if kind == "target" and self.target_ZHW is not None else None


def anatomy_like(rng: np.random.Generator, slices: int = 3, h: int = 64, w: int = 56) -> Array:
    """A textured ellipse off centre on a dim background, (Z, H, W) float32 of about 4e-4."""
    rows, columns = np.mgrid[:h, :w]
    inside = ((rows - 0.45 * h) / (0.3 * h)) ** 2 + ((columns - 0.5 * w) / (0.28 * w)) ** 2 < 1
    noise = np.stack([ndimage.gaussian_filter(rng.random((h, w)), 1) for _ in range(slices)])
    image = inside * (1e-4 + 6e-4 * noise) + 1e-6 * rng.random((slices, h, w))
    return image.astype(np.float32)


@pytest.fixture
def make_scan() -> MakeScan:
    def make(
        target_ZHW: Array | None,
        cell: Cell | None = BRAIN,
        data_range: float | None | str = "true",
        boxes: tuple[Box, ...] = (),
        name: str = "a",
    ) -> Scan:
        shape = (2, 8, 8) if target_ZHW is None else target_ZHW.shape
        if data_range == "true":
            data_range = None if target_ZHW is None else float(target_ZHW.max())
        assert not isinstance(data_range, str)
        return Scan(
            name=name,
            shape=(shape[0], 1, shape[1], shape[2]),
            mask=None,
            full=target_ZHW is not None,
            geometry=Geometry(shape[1:], shape[1:]),
            source=Stored(target_ZHW),
            cell=cell,
            data_range=data_range,
            find_boxes=lambda: boxes,
        )

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(430)


@pytest.fixture
def volume(rng: np.random.Generator) -> Array:
    return anatomy_like(rng)


@pytest.fixture
def recon(volume: Array, rng: np.random.Generator) -> Array:
    noisy = volume + 2e-5 * rng.standard_normal(volume.shape)
    return np.abs(noisy).astype(np.float32)
