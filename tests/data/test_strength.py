"""Strength by epoch: the teams' own formulas, and what a rule refuses."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from dealias.data.strength import StrengthSettings, strength


def test_the_exponential_rise_of_smartify() -> None:
    settings = StrengthSettings(kind="exponential", maximum=0.5, delay=33, until=50, hold=49)
    for t in range(33, 50):
        expected = 0.5 * (1 - math.exp(-5 * (t - 33) / 17)) / (1 - math.exp(-5))
        assert strength(settings, t) == pytest.approx(expected, abs=1e-15)
    assert [strength(settings, t) for t in (0, 32, 33)] == [0, 0, 0]
    frozen = {strength(settings, t) for t in (49, 50, 59)}
    assert len(frozen) == 1 and frozen.pop() == pytest.approx(0.499, abs=5e-4)


def test_the_masks_of_smartifys_helper() -> None:
    settings = StrengthSettings(kind="exponential", delay=15, until=25)
    for t in range(15, 25):
        expected = (1 - math.exp(-(t - 15) / 2)) / (1 - math.exp(-5))
        assert strength(settings, t) == pytest.approx(expected, abs=1e-15)
    assert [strength(settings, t) for t in (14, 25, 59)] == [0, 1, 1]


def test_the_linear_rise_of_geekseek() -> None:
    settings = StrengthSettings(kind="linear", maximum=0.7, delay=5, until=50)
    assert strength(settings, 4) == strength(settings, 5) == 0
    assert strength(settings, 23) == pytest.approx(0.7 * 18 / 45, abs=1e-15)
    assert strength(settings, 50) == strength(settings, 80) == 0.7


def test_the_points_of_sungsimdang() -> None:
    points = ((0, 0.1), (30, 0.5), (44, 0.5), (45, 0.7))
    settings = StrengthSettings(kind="points", points=points)
    for t in range(30):
        assert strength(settings, t) == pytest.approx(0.1 + 0.4 * t / 30, abs=1e-15)
    assert {strength(settings, t) for t in range(30, 45)} == {0.5}
    assert strength(settings, 45) == strength(settings, 64) == 0.7


def falling(slope: float, count: int = 5) -> list[float]:
    return [0.3 + slope * i for i in range(count)]


def test_slope_follows_the_fitted_line() -> None:
    settings = StrengthSettings(kind="slope", maximum=0.7, delay=5, decay=6)
    assert strength(settings, 9, falling(-0.06)) == 0
    assert strength(settings, 9, falling(-0.0005)) == 0.7
    assert strength(settings, 9, falling(+0.01)) == 0.7
    halfway = 0.7 * (1 - math.exp(-3)) / (1 - math.exp(-6))
    assert strength(settings, 9, falling(-0.0255)) == pytest.approx(halfway, abs=1e-12)
    # symmetric bumps around a line leave its least-squares slope
    bumpy = [
        a + b for a, b in zip(falling(-0.0255), (0.02, -0.01, -0.02, -0.01, 0.02), strict=True)
    ]
    assert strength(settings, 9, bumpy) == pytest.approx(halfway, abs=1e-12)


def test_slope_sees_only_its_window_and_waits_until_it_is_full() -> None:
    settings = StrengthSettings(kind="slope", decay=6)
    assert strength(settings, 4, falling(0.0, 4)) == 0
    assert strength(settings, 9, [9.0, 5.0, *falling(0.0)]) == 1
    for odd in (math.nan, math.inf):
        assert strength(settings, 9, [*falling(0.0, 4), odd]) == 0
    late = StrengthSettings(kind="slope", delay=10)
    assert strength(late, 9, falling(0.0)) == 0 and strength(late, 10, falling(0.0)) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "linear"}, "needs until"),
        ({"kind": "exponential", "delay": 9, "until": 9}, "after delay=9"),
        ({"kind": "slope", "steep": 0.1}, "steep must be below flat"),
        ({"kind": "slope", "hold": 9}, "goes by the loss"),
        ({"kind": "points"}, "go together"),
        ({"points": [[0, 1]]}, "go together"),
        ({"kind": "points", "points": [[3, 0.1], [3, 0.2]]}, "in order"),
        ({"kind": "points", "points": [[3, 1.1]]}, "0..1"),
    ],
)
def test_incomplete_settings_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        StrengthSettings.model_validate(values)
