"""What shapes the point-spread function: sidelobes in closed form, distances of Poisson discs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from dealias.physics.sampling.density import variable_density_mask
from dealias.physics.sampling.fastmri import acs_range
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.poisson import Board, poisson_disc_mask


def lattice(width: int, rate: int, offset: int = 0) -> np.ndarray:
    lines = np.zeros(width, bool)
    lines[offset::rate] = True
    return lines


@given(st.integers(2, 12), st.integers(2, 40), st.integers(0, 11))
def test_a_lattice_aliases_whole(rate: int, periods: int, offset: int) -> None:
    """R equal copies, wherever the lattice begins."""
    mask = SamplingMask(lattice(rate * periods, rate, offset % rate), (0, 0))
    assert mask.coherence == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shape", [(1,), (32,), (33,), (8, 9)])
def test_full_and_empty_masks_have_no_sidelobes(shape: tuple[int, ...]) -> None:
    assert SamplingMask(np.ones(shape, bool), (0, 0)).coherence == pytest.approx(0, abs=1e-12)
    assert SamplingMask(np.zeros(shape, bool), (0, 0)).coherence == 0


@pytest.mark.parametrize(("width", "rate", "count"), [(256, 4, 16), (240, 6, 12), (384, 8, 16)])
def test_a_lattice_with_acs(width: int, rate: int, count: int) -> None:
    """W/R lattice lines alias whole; of n ACS lines the n - n/R others cancel n/R of them."""
    lines = lattice(width, rate)
    start, stop = acs_range(width, count / width)
    lines[start:stop] = True
    others = count - count // rate
    expected = (width / rate - count / rate) / (width / rate + others)
    assert SamplingMask(lines, (start, stop)).coherence == pytest.approx(expected, rel=1e-12)


@given(st.integers(2, 9), st.integers(12, 60))
def test_a_block_has_the_flanks_of_dirichlets_kernel(count: int, width: int) -> None:
    lines = np.zeros(width, bool)
    start = (width - count) // 2
    lines[start : start + count] = True
    lags = np.arange(1, width)
    kernel = np.sin(np.pi * lags * count / width) / (count * np.sin(np.pi * lags / width))
    expected = np.abs(kernel).max()
    assert SamplingMask(lines, (start, start + count)).coherence == pytest.approx(expected)


def test_two_axes_are_the_product_of_one_each() -> None:
    plane = lattice(24, 3)[:, None] & np.ones(16, bool)
    assert SamplingMask(plane, (0, 0)).coherence == pytest.approx(1)
    lines = np.random.default_rng(0).random(40) < 0.5
    along = SamplingMask(lines, (0, 0)).coherence
    both = SamplingMask(lines[:, None] & np.ones(7, bool), (0, 0)).coherence
    assert both == pytest.approx(along)


def kept(mask: SamplingMask) -> float:
    """The largest s of which no two samples outside the ACS are nearer than s (0.5 + mean r)."""
    points = np.argwhere(mask.lines & ~mask.acs_lines())
    centre = np.array(mask.lines.shape) // 2
    growth = 0.5 + np.linalg.norm((points - centre) / (np.array(mask.lines.shape) / 2), axis=1)
    pairs = cKDTree(points).query_pairs(15, output_type="ndarray")
    apart = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    return float((apart / growth[pairs].mean(1)).min())


def room(mask: SamplingMask) -> float:
    """The s of one sample for every square of its distance: nothing thrown is packed so tightly."""
    size = np.array(mask.lines.shape)
    y, x = ((np.arange(n) - n // 2) / (n / 2) for n in size)
    outside = ~mask.acs_lines()
    area = ((0.5 + np.hypot(y[:, None], x)) ** -2)[outside].sum()
    return float(np.sqrt(area / (mask.lines & outside).sum()))


@settings(max_examples=12, deadline=None)
@given(
    hw=st.tuples(st.integers(60, 110), st.integers(60, 110)),
    rate=st.integers(3, 12),
    seed=st.integers(0, 2**32),
)
def test_the_distance_is_kept(hw: tuple[int, int], rate: int, seed: int) -> None:
    """Random sequential discs cover 0.547 of the plane: s^2 is 0.70 of `room`'s; 0.5 on a grid."""
    mask = poisson_disc_mask(hw, rate, 0.06, np.random.default_rng(seed))
    assert 0.66 < kept(mask) / room(mask) < 0.84
    by_chance = variable_density_mask(hw, rate, 0.06, np.random.default_rng(seed))
    assert kept(by_chance) < kept(mask)


def test_darts_all_at_once_are_darts_one_after_the_other() -> None:
    rng = np.random.default_rng(3)
    height, width = 31, 26
    closed = np.zeros((height, width), bool)
    closed[13:18, 11:15] = True
    distance = rng.uniform(0.8, 5, (height, width))
    order = rng.permutation(closed.size)
    board = Board(closed, order, reach=5)
    board.throw(distance, closed.size)
    taken: list[tuple[int, int]] = []
    for index in np.argsort(order).tolist():
        row, column = divmod(index, width)
        near = (np.hypot(row - r, column - c) < (distance[row, column] + distance[r, c]) / 2
                for r, c in taken)  # fmt: skip
        if not closed[row, column] and not any(near):
            taken.append((row, column))
    expected = np.zeros_like(closed)
    expected[tuple(zip(*taken, strict=True))] = True
    assert np.array_equal(board.samples(), expected)
    # fewer are the first of them
    board = Board(closed, order, reach=5)
    board.throw(distance, 20)
    assert sorted(map(tuple, np.argwhere(board.samples()).tolist())) == sorted(taken[:20])
