"""The foreground against OpenCV's rules, followed pass by pass and pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dealias.metrics.foreground import THRESHOLDS, foreground

Mask = npt.NDArray[np.bool_]


def one_pass(mask: list[list[int]], erode: bool) -> list[list[int]]:
    """One 3x3 pass: outside the image is +infinity for erosion, -infinity for dilation."""
    h, w = len(mask), len(mask[0])
    out = [[0] * w for _ in range(h)]
    for i in range(h):
        for j in range(w):
            near = [
                mask[a][b]
                for a in range(max(0, i - 1), min(h, i + 2))
                for b in range(max(0, j - 1), min(w, j + 2))
            ]
            out[i][j] = min(near) if erode else max(near)
    return out


def literal(image: npt.NDArray[Any], threshold: float) -> Mask:
    mask = (image > threshold).astype(int).tolist()
    for erode, passes in ((True, 1), (False, 15), (True, 14)):
        for _ in range(passes):
            mask = one_pass(mask, erode)
    return np.array(mask, dtype=bool)


@pytest.mark.parametrize("seed", range(24))
def test_equal_to_the_literal_passes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 56, size=2)
    density = rng.choice([0.02, 0.3, 0.9, 0.985, 0.999])
    image = (rng.random((h, w)) < density).astype(np.float32)
    if seed % 3 == 0:
        # some blocks, as anatomy is: they survive the first erosion at any density
        image = np.zeros((h, w), dtype=np.float32)
        for _ in range(4):
            i, j = rng.integers(0, h), rng.integers(0, w)
            image[i : i + rng.integers(1, 12), j : j + rng.integers(1, 12)] = 1
    assert np.array_equal(foreground(image, 0.5), literal(image, 0.5))


def test_both_outcomes_occur() -> None:
    rng = np.random.default_rng(1)
    image = np.zeros((60, 60), dtype=np.float32)
    image[20:30, 20:30] = rng.random((10, 10)) + 1
    mask = foreground(image, 0.5)
    assert mask.any()
    assert not mask.all()
    assert mask[20:30, 20:30].all()
    # erode 1, dilate 15, erode 14: the block comes back as it was
    assert mask.sum() == 100


def test_a_hole_is_closed_and_a_lone_pixel_vanishes() -> None:
    image = np.ones((80, 80))
    image[30:40, 30:40] = 0
    assert foreground(image, 0.5).all()
    lone = np.zeros((80, 80))
    lone[40, 40] = 1
    assert not foreground(lone, 0.5).any()


def test_anatomy_that_reaches_the_edge_stays_there() -> None:
    image = np.zeros((80, 80))
    image[:, :10] = 1
    mask = foreground(image, 0.5)
    assert mask[:, :10].all()
    assert mask.sum() == 800


def test_the_threshold_itself_is_outside() -> None:
    at = np.full((20, 20), 0.5)
    assert not foreground(at, 0.5).any()
    assert foreground(np.nextafter(at, 1), 0.5).all()


def test_the_challenges_thresholds() -> None:
    assert THRESHOLDS == {"brain": 5e-5, "knee": 2e-5}


def test_the_result_is_bool_and_the_input_untouched() -> None:
    image = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    before = image.copy()
    assert foreground(image, 0.5).dtype == bool
    assert np.array_equal(image, before)
