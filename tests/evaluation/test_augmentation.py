"""What is told of augmentation, on scans whose foreground is an ellipse that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dealias.data.augment import AugmentSettings, TransformSettings
from dealias.data.augment_noise import noise_left
from dealias.data.remask import MaskSettings
from dealias.data.strength import StrengthSettings
from dealias.evaluation.augmentation import (
    SLICES,
    augmentation_facts,
    highest,
    slices_looked_at,
)
from dealias.physics.fourier import fft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Needs
from dealias.scan.scan import Cell, Geometry, Scan

H, W = 64, 56
MASKS = MaskSettings(kind="snu", accelerations=(4, 8), each_acceleration=True)


@dataclass(frozen=True)
class Ellipses:
    """k-space of slices whose one coil sees an ellipse, each a little lower than the last."""

    count: int

    def kspace(self, z: slice) -> np.ndarray:
        down = np.arange(self.count)[z, None, None] % 4
        y, x = np.mgrid[:H, :W] - np.array([H / 2, W / 2])[:, None, None]
        inside = ((y - down) / 12) ** 2 + (x / 8) ** 2 < 1
        images = torch.from_numpy(inside[:, None].astype(np.complex64))
        return fft(images).numpy()

    def image(self, kind: str, z: slice) -> None:
        return None


def scan(number: int, anatomy: str, slices: int) -> Scan:
    source = Ellipses(slices)
    return Scan(
        f"s{number}", (slices, 1, H, W), snu_mask(W, 4), True, Geometry((H, W), (H, W)), source,
        Cell(anatomy, 4), 1.0,
    )  # fmt: skip


SETTINGS = AugmentSettings(
    transforms=TransformSettings(translation=1, max_translation=(0, 0.08)),
    knee=TransformSettings(),
    strength=StrengthSettings(kind="points", points=((0, 0.0), (3, 1.0), (9, 0.25))),
)


def test_translation_along_w_moves_columns_alone_and_an_anatomy_left_alone_stays() -> None:
    told: list[int] = []
    scans = [scan(1, "brain", 8), scan(2, "knee", 4)]
    found = augmentation_facts(scans, MASKS, SETTINGS, Needs(), 3, told.append)
    assert sum(told) == slices_looked_at(scans) == 2 * 12
    brain, knee = found["brain"], found["knee"]
    assert (brain.strength, brain.slices, knee.slices) == (1.0, 8, 4)
    assert brain.histograms["column"].overlap < 0.5
    for name in ("row", "extent", "aspect", "angle"):
        assert brain.histograms[name].overlap == 1
    assert all(one.overlap == 1 for one in knee.histograms.values())
    # rows lie 0, 1, 2 and 3 pixels down: a standard deviation of sqrt(5/4)
    down, right = brain.proposed["max_translation"]  # type: ignore[misc]
    assert down == pytest.approx(math.sqrt(3 * 5 / 4) / H, rel=1e-6)
    assert right == pytest.approx(0, abs=1e-12)
    assert brain.limits["max_translation"] == (0, 0.08)


def test_at_most_so_many_slices_of_an_anatomy_each_once() -> None:
    scans = [scan(1, "brain", SLICES + 9)]
    told: list[int] = []
    found = augmentation_facts(scans, MASKS, SETTINGS, Needs(), 3, told.append)
    assert found["brain"].slices == SLICES
    assert len(told) == slices_looked_at(scans) == 2 * SLICES


def test_the_noise_is_that_of_the_anatomy_s_own_settings() -> None:
    turned = TransformSettings(rotation=1)
    settings = SETTINGS.model_copy(update={"knee": turned, "interpolation": "band-limited"})
    found = augmentation_facts([scan(2, "knee", 1)], MASKS, settings, Needs(), 3)["knee"]
    assert found.noise == noise_left(turned, (H, W), (H, W), settings.edges)
    assert found.noise["bilinear"] < 0.9 < 0.99 < found.noise["band-limited"]
    assert found.interpolation == "band-limited"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (StrengthSettings(), 1.0),
        (StrengthSettings(kind="linear", until=5, maximum=0.4), 0.4),
        (StrengthSettings(kind="points", points=((0, 0.1), (4, 0.6), (8, 0.3))), 0.6),
    ],
)
def test_the_highest_strength(settings: StrengthSettings, expected: float) -> None:
    assert highest(settings) == expected
