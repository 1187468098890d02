"""Fitted weights: no others on the simplex have a lower mean squared error."""

from __future__ import annotations

import numpy as np
import pytest

from dealias.evaluation.ensemble import error_products, fitted_weights


def slices(seed: int, members: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """A target, images that are off by correlated errors of different sizes, and a foreground."""
    rng = np.random.default_rng(seed)
    target = rng.random((2, 6, 7)).astype(np.float32)
    common = rng.normal(size=target.shape)
    sizes = rng.uniform(0.02, 0.3, members)
    images = [
        (target + size * (0.5 * common + rng.normal(size=target.shape))).astype(np.float32)
        for size in sizes
    ]
    return images, target, rng.random(target.shape) < 0.6


@pytest.mark.parametrize("seed", range(6))
def test_no_weights_on_a_fine_grid_are_better(seed: int) -> None:
    images, target, inside = slices(seed, 3)
    found = np.array(fitted_weights(error_products(images, target, inside)))
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1, abs=1e-12)

    def error(weights: np.ndarray) -> float:
        average = sum(w * x.astype(np.float64) for w, x in zip(weights, images, strict=True))
        return float(((average - target)[inside] ** 2).sum())

    step = 0.01
    grid = [
        np.array([a, b, 1 - a - b])
        for a in np.arange(0, 1 + step / 2, step)
        for b in np.arange(0, 1 - a + step / 2, step)
    ]
    grid = [np.clip(one, 0, None) for one in grid]
    best = min(grid, key=error)
    assert error(found) <= error(best) * (1 + 1e-12)
    # and it lies where the best of the grid does
    assert np.abs(found - best).max() < 1.5 * step


def test_the_background_plays_no_part_and_volumes_add_up() -> None:
    images, target, inside = slices(3, 2)
    both = error_products(images, target, inside)
    spoiled = [np.where(inside, image, 99).astype(np.float32) for image in images]
    np.testing.assert_array_equal(error_products(spoiled, target, inside), both)
    parts = [error_products([i[z] for i in images], target[z], inside[z]) for z in (0, 1)]
    np.testing.assert_allclose(sum(parts), both, rtol=1e-12)


def test_closed_forms() -> None:
    # errors that are not correlated: in inverse proportion to their variances
    assert fitted_weights(np.diag([1.0, 4.0])) == pytest.approx((0.8, 0.2), abs=1e-12)
    # one error inside another's: the larger is left out
    assert fitted_weights(np.array([[1.0, 2.0], [2.0, 5.0]])) == pytest.approx((1, 0), abs=1e-12)
    assert fitted_weights(np.zeros((2, 2))) == (0.5, 0.5)
    tiny = fitted_weights(np.diag([1.0, 4.0]) * 1e-18)
    assert tiny == pytest.approx((0.8, 0.2), abs=1e-12)
