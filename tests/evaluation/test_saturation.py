"""Where a validation curve becomes flat: made-up curves of which that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dealias.evaluation.saturation import TOLERANCE, Judges, saturation

EPOCHS = list(range(1, 31))


def rising(tau: float, gain: float = 0.02) -> np.ndarray:
    """.95 and an exponential rise, by epochs done."""
    return 0.95 + gain * (1 - np.exp(-np.array(EPOCHS) / tau))


def alone(people: int) -> Judges:
    """One volume each, in one group."""
    return Judges((1.0,) * people, (0,) * people, tuple(range(people)))


def test_what_rises_to_the_end_is_not_saturated() -> None:
    found = saturation(EPOCHS, list(np.linspace(0.9, 0.95, 30)))
    assert found is not None
    assert (found.epochs, found.best, found.of, found.seen) == (30, 30, 30, False)
    assert str(found) == "no saturation seen in 30 epochs: gains until epoch 30"


def test_a_plateau_begins_where_it_begins() -> None:
    totals = np.minimum(np.linspace(0.93, 0.96, 30), 0.945)
    found = saturation(EPOCHS, list(totals))
    assert found is not None
    first = 1 + int(np.argmax(totals == 0.945))
    assert (found.epochs, found.best, found.left, found.seen) == (first, first, 0.0, True)


def test_gains_below_the_tolerance_are_none() -> None:
    totals = rising(5)
    found = saturation(EPOCHS, list(totals))
    assert found is not None
    # .02 exp(-t / 5) <= 1e-4, of what is left at the last epoch
    left = 0.02 * np.exp(-np.array(EPOCHS) / 5)
    wanted = next(t for t, rest in zip(EPOCHS, left - left[-1], strict=True) if rest <= TOLERANCE)
    assert found.epochs == wanted == 25
    assert found.left == pytest.approx(totals[-1] - totals[wanted - 1])
    assert found.noise == TOLERANCE
    assert saturation(EPOCHS, list(totals), tolerance=1e-3).epochs < wanted  # type: ignore[union-attr]


def test_after_overfitting_nothing_is_left_to_gain() -> None:
    totals = 0.95 - 9e-5 * (np.array(EPOCHS) - 12) ** 2
    found = saturation(EPOCHS, list(totals))
    assert found is not None
    # one epoch earlier lacks 9e-5, which is no gain
    assert (found.epochs, found.best, found.seen) == (11, 12, True)
    assert "after 11 of 30 epochs" in str(found) and "best after 12" in str(found)


def curves(people: int, spread: float, noise: float, seed: int) -> np.ndarray:
    """People who differ by `spread`, all of whom gain alike but for `noise`, (T, V)."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, spread, people)
    return rising(4)[:, None] + own + rng.normal(0, noise, (len(EPOCHS), people))


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_of_pairs_and_not_of_people(seed: int) -> None:
    volumes_TV = curves(40, 0.03, 0.002, seed)
    totals, judges = volumes_TV.mean(1), alone(40)
    found = saturation(EPOCHS, list(totals), volumes_TV, judges)
    assert found is not None
    best = int(totals.argmax())
    gains_TV = volumes_TV[best] - volumes_TV
    # closed form of the bootstrap's standard error
    errors = gains_TV.std(1) / math.sqrt(40)
    for t in (0, 5, 20):
        if t != best:
            assert judges.error(gains_TV[t]) == pytest.approx(errors[t], rel=0.06)
    left = totals[best] - totals
    surely, perhaps = (left <= np.maximum(errors * s, TOLERANCE) for s in (0.93, 1.07))
    assert 1 + int(perhaps.argmax()) <= found.epochs <= 1 + int(surely.argmax())
    # people differ by ten times the noise: unpaired, the first epochs would do
    unpaired = volumes_TV.std() / math.sqrt(40)
    assert 1 + int((left <= unpaired).argmax()) < found.epochs
    assert found.seen


def test_the_total_is_a_mean_of_groups() -> None:
    rng = np.random.default_rng(1)
    gains = np.concatenate([rng.normal(0, 0.002, 40), rng.normal(0, 0.004, 20)])
    judges = Judges((1.0,) * 60, (4,) * 40 + (8,) * 20, tuple(range(60)))
    one, other = gains[:40].std() / math.sqrt(40), gains[40:].std() / math.sqrt(20)
    assert judges.error(gains) == pytest.approx(math.hypot(one, other) / 2, rel=0.06)


def test_too_few_people_leave_the_tolerance() -> None:
    volumes_TV = rising(5)[:, None]
    found = saturation(EPOCHS, list(volumes_TV[:, 0]), volumes_TV, alone(1))
    assert found == saturation(EPOCHS, list(volumes_TV[:, 0]))


def test_validations_now_and_then_and_broken_ones() -> None:
    totals = [0.90, math.nan, 0.94, 0.94005, 0.94, 0.94]
    found = saturation([5, 10, 15, 20, 25, 30], totals)
    assert found is not None
    assert (found.epochs, found.best, found.of, found.seen) == (15, 20, 30, True)
    assert saturation([5], [0.9]) is None
    assert saturation([5, 10], [0.9, math.nan]) is None
