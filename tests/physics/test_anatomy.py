"""Simulated anatomy: one person per seed and number, continuous in depth, with fine structure."""

from __future__ import annotations

import numpy as np
import pytest

from dealias.physics.anatomy import Grid, Subject, render, smooth_noise

GRID = Grid((288, 216), 1.5, 1.125)
ANATOMIES = pytest.mark.parametrize("anatomy", ["brain", "knee"])


def drawn(anatomy: str, number: int, *depths: float) -> np.ndarray:
    return render(anatomy, Subject(3, number), GRID, np.array(depths))


@ANATOMIES
def test_a_person_is_a_function_of_seed_and_number(anatomy: str) -> None:
    first, other = drawn(anatomy, 1, 0.1), drawn(anatomy, 2, 0.1)
    np.testing.assert_array_equal(first, drawn(anatomy, 1, 0.1))
    # the slice does not depend on which others are drawn with it
    np.testing.assert_array_equal(first[0], drawn(anatomy, 1, -0.3, 0.1)[1])
    assert np.abs(first - other).mean() > 0.1 * first.mean()


@ANATOMIES
def test_neighbouring_slices_are_alike_and_distant_ones_are_not(anatomy: str) -> None:
    here, near, far = drawn(anatomy, 1, 0.0, 0.02, 0.5)

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(a - b) / np.linalg.norm(a))

    assert 0 < apart(here, near) < 0.15
    assert apart(here, far) > 2 * apart(here, near)


@ANATOMIES
def test_values_are_finite_and_of_order_one(anatomy: str) -> None:
    images = drawn(anatomy, 5, -0.6, 0.0, 0.6)
    assert images.dtype == np.float32
    assert np.isfinite(images).all() and images.min() >= 0
    assert 0.4 < images[images > 0.1].mean() < 2.5 and images.max() < 6


def test_the_head_lies_inside_the_target_and_the_knee_runs_through_it() -> None:
    y, x = GRID.coordinates()
    outside = (np.abs(y) > 0.97) | (np.abs(x) > 0.97)
    for number in range(4):
        brain = drawn("brain", number, 0.0)[0]
        assert (brain[np.broadcast_to(outside, brain.shape)] == 0).all()
        knee = drawn("knee", number, 0.0)[0]
        assert (knee[:, 108] > 0).all()  # readout: from end to end
        reach = np.abs(np.broadcast_to(x, knee.shape)[knee > 0.1]).max()
        assert reach > 0.97  # phase encode: to the target's edge


@ANATOMIES
def test_there_is_structure_as_fine_as_a_pixel(anatomy: str) -> None:
    """A tenth of the edges' energy or more lies in the upper half of the acquired frequencies."""
    image = drawn(anatomy, 1, 0.1)[0]
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(image))) ** 2
    ky, kx = np.mgrid[-144:144, -108:108]
    radius = np.maximum(np.abs(ky) / 48, np.abs(kx) / 36)  # 1 at the edge of the acquired k-space
    edges = spectrum * (ky**2 + kx**2)
    assert edges[(radius > 0.5) & (radius < 1)].sum() > 0.1 * edges[radius < 1].sum()


def test_smooth_noise_has_the_asked_correlation() -> None:
    grid = Grid((400, 300), 1.0, 0.75)
    field = smooth_noise(np.random.default_rng(0), grid, 0.05, 2.0)
    assert field.std() == pytest.approx(1, abs=1e-4)
    # a Gaussian window of width s correlates by exp(-d^2 / 4 s^2): 1/e at d = 2 s
    across, along = (np.mean(field * np.roll(field, n, axis)) for n, axis in ((20, 1), (40, 0)))
    assert across == pytest.approx(np.exp(-1), abs=0.12)
    assert along == pytest.approx(np.exp(-1), abs=0.12)
