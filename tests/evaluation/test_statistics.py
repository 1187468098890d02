"""The bootstrap interval covers what it says, over people and not over slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dealias.evaluation.statistics import bootstrap_interval

means = st.lists(st.floats(-1, 1), min_size=2, max_size=30)


def test_it_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(430)
    trials, volumes, slices = 300, 30, 12
    covered = by_slices = 0
    for _ in range(trials):
        # skewed between people, as SSIM is, and alike within one
        person = 1 - rng.gamma(2.0, 0.02, volumes)
        ssim = person[:, None] + 0.005 * rng.standard_normal((volumes, slices))
        low, high = bootstrap_interval(ssim.mean(1).tolist()) or (0, 0)
        covered += low <= 0.96 <= high
        spread = 1.96 * ssim.std(ddof=1) / np.sqrt(ssim.size)
        by_slices += abs(ssim.mean() - 0.96) <= spread
    assert 0.90 <= covered / trials <= 0.98
    # what counting slices as independent people would promise, and not keep
    assert by_slices / trials < 0.6


def test_its_width_is_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(400)
    low, high = bootstrap_interval(values.tolist()) or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * values.std(ddof=1) / np.sqrt(400), rel=0.08)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.01)


def test_fewer_than_two_volumes_say_nothing_of_their_spread() -> None:
    assert bootstrap_interval([]) is None
    assert bootstrap_interval([0.9]) is None


def test_the_same_scores_have_the_same_interval() -> None:
    values = np.random.default_rng(2).random(9).tolist()
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


@settings(max_examples=50, deadline=None)
@given(means)
def test_it_lies_within_the_volumes_and_around_their_median_draw(values: list[float]) -> None:
    low, high = bootstrap_interval(values) or (2, -2)
    slack = 1e-12
    assert min(values) - slack <= low <= high <= max(values) + slack


@settings(max_examples=50, deadline=None)
@given(means, st.floats(0.5, 2), st.floats(-1, 1))
def test_it_moves_and_stretches_with_the_scores(
    values: list[float], factor: float, shift: float
) -> None:
    low, high = bootstrap_interval(values) or (0, 0)
    moved = bootstrap_interval([factor * value + shift for value in values])
    assert moved == pytest.approx((factor * low + shift, factor * high + shift), abs=1e-12)


def test_weights_count_slices() -> None:
    # two volumes: the resamples are (a, a), (a, b), (b, b), whatever the seed
    low, high = bootstrap_interval([0.0, 1.0], [3, 1], level=0.2) or (0, 0)
    assert (low, high) == (0.25, 0.25)
    assert bootstrap_interval([0.5, 0.5, 0.5], [1, 5, 2]) == (0.5, 0.5)


def test_a_higher_level_is_wider() -> None:
    values = np.random.default_rng(0).random(20).tolist()
    ends = [bootstrap_interval(values, level=level) or (0, 0) for level in (0.5, 0.8, 0.95)]
    widths = [high - low for low, high in ends]
    assert widths[0] < widths[1] < widths[2]
