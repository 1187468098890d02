"""An effect's interval covers over seeds and people together; a spread says what chance makes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dealias.errors import SettingsError
from dealias.evaluation.compare import compare
from dealias.evaluation.effect import effects
from dealias.evaluation.scores import Scores
from dealias.evaluation.statistics import distinguishable, grouped_interval, spread, student
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Cell

BRAIN4, KNEE4, KNEE8 = Cell("brain", 4), Cell("knee", 4), Cell("knee", 8)


def scores(ssim: dict[tuple[str, Cell], list[float]], protocol: str = "snu2025") -> Scores:
    """Scores without tables, which effects do not read."""
    volumes = tuple(
        VolumeScores(name, cell, protocol,
                     tuple(SliceScores(z, one, 30.0, 0.01) for z, one in enumerate(slices)))
        for (name, cell), slices in ssim.items()
    )  # fmt: skip
    return Scores(protocol, PROTOCOLS[protocol].spec, 0.0, (), volumes)


def test_effects_are_paired_and_weighted_as_the_total_is() -> None:
    # two seeds; knees have twice the slices; X8 has knees alone
    first = {("a", BRAIN4): [0.5], ("b", KNEE4): [0.6, 0.6], ("c", KNEE8): [0.7]}
    gains = {("a", BRAIN4): 0.03, ("b", KNEE4): 0.06, ("c", KNEE8): 0.01}
    seconds = [
        scores({key: [one + gains[key] + off for one in slices] for key, slices in first.items()})
        for off in (0.001, -0.001)
    ]
    found = {one.cell: one.mean for one in effects([scores(first)] * 2, seconds)}
    assert found == pytest.approx(
        {"brain-x4": 0.03, "knee-x4": 0.06, "knee-x8": 0.01, "total": (0.05 + 0.01) / 2}
    )
    (backwards,) = (e for e in effects(seconds, [scores(first)] * 2) if e.cell == "total")
    assert backwards.mean == pytest.approx(-0.03)
    by_volume = effects(
        [scores(first, "fastmri")] * 2,
        [scores({k: [x + gains[k] for x in s] for k, s in first.items()}, "fastmri")] * 2,
    )
    assert by_volume[-1].mean == pytest.approx(0.1 / 3)


def test_what_cannot_be_paired_is_refused() -> None:
    one, other = scores({("a", BRAIN4): [0.5]}), scores({("b", BRAIN4): [0.5]})
    with pytest.raises(SettingsError, match="2 and 1 runs"):
        effects([one, one], [one])
    with pytest.raises(SettingsError, match="only one"):
        effects([one, one], [other, one])
    with pytest.raises(SettingsError, match="same in all runs"):
        effects([one, other], [one, other])
    (cell, total) = effects([one, one], [one, one])
    assert cell.ci95 is None and total.ci95 is None and not total.distinguishable


@pytest.mark.parametrize(("of_seeds", "of_people"), [(0.002, 0.002), (0.0002, 0.004)])
def test_the_interval_covers_over_other_seeds_and_other_people(
    of_seeds: float, of_people: float
) -> None:
    rng = np.random.default_rng(430)
    seeds, people, trials = 3, 16, 300
    blank = {(f"v{i}", KNEE4): [0.0] for i in range(people)}
    covered = naive = 0
    for _ in range(trials):
        # what a training gives by chance it gives everybody alike
        chance = of_seeds * rng.standard_normal((seeds, 1))
        person = of_people * rng.standard_normal((1, people))
        gains = chance + person + 0.001 * rng.standard_normal((seeds, people))
        runs = [scores({key: [g] for key, g in zip(blank, one, strict=True)}) for one in gains]
        total = effects([scores(blank)] * seeds, runs)[-1]
        assert total.ci95 is not None
        covered += not total.distinguishable
        half = 1.96 * gains.std(ddof=1) / np.sqrt(gains.size)
        naive += abs(gains.mean()) <= half
    assert 0.91 <= covered / trials <= 0.98
    # all pairs taken for independent ones promise as much, and keep far less
    assert naive / trials < 0.85


def test_a_spread_by_its_closed_form() -> None:
    found = spread([1.0, 2.0, 3.0])
    low, high = 2 / stats.chi2.ppf(0.975, 2), 2 / stats.chi2.ppf(0.025, 2)
    assert (found.count, found.mean, found.deviation) == (3, 2.0, 1.0)
    assert found.ci95 == pytest.approx((np.sqrt(low), np.sqrt(high)), rel=1e-12)
    assert found.detectable() == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(2), rel=1e-12)
    assert found.detectable(3) == pytest.approx(found.detectable() / np.sqrt(3), rel=1e-12)
    assert student(1e9) == pytest.approx(1.959964, abs=1e-6)
    with pytest.raises(ValueError, match="1 trainings"):
        spread([1.0])


def test_two_single_runs_exceed_what_is_detectable_once_in_twenty_times() -> None:
    rng = np.random.default_rng(7)
    trials = 4000
    exceeded = covered = 0
    for values in rng.standard_normal((trials, 5)):
        known = spread(values[:3].tolist())
        exceeded += abs(values[3] - values[4]) > known.detectable()
        covered += known.ci95[0] <= 1 <= known.ci95[1]
    assert exceeded / trials == pytest.approx(0.05, abs=0.012)
    assert covered / trials == pytest.approx(0.95, abs=0.012)


def test_people_are_drawn_and_not_their_volumes() -> None:
    rng = np.random.default_rng(3)
    gains = rng.standard_normal(20)
    # everybody is there at both accelerations, and gains the same at both
    values, names = [*gains, *gains], [*range(20), *range(20)]
    twice = grouped_interval(values, [1] * 40, [4] * 20 + [8] * 20, names)
    alone = grouped_interval(values, [1] * 40, [4] * 20 + [8] * 20, list(range(40)))
    assert twice is not None and alone is not None
    ratio = (twice[1] - twice[0]) / (alone[1] - alone[0])
    assert ratio == pytest.approx(np.sqrt(2), rel=0.08)
    width = 2 * 1.96 * gains.std() / np.sqrt(20)
    assert twice[1] - twice[0] == pytest.approx(width, rel=0.1)


def test_groups_weigh_the_same_and_are_never_empty() -> None:
    # one knee at X8 against three brains at X4: a draw without the knee would have no X8
    found = grouped_interval([0, 0, 0, 1], [1, 2, 3, 5], [4, 4, 4, 8], ["a", "b", "c", "d"])
    assert found == (0.5, 0.5)
    assert grouped_interval([0, 1], [1, 1], [4, 8], ["a", "b"]) is None
    assert not distinguishable(None)
    assert distinguishable((-2, -1)) and distinguishable((1, 2)) and not distinguishable((-1, 1))


def test_a_comparison_says_what_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(1)
    people = {
        (f"v{i}", cell): rng.uniform(0.5, 0.9, 3) for i in range(8) for cell in (KNEE4, KNEE8)
    }

    def of(gain: float, spread: float) -> Scores:
        noise = {key: gain + spread * rng.standard_normal() for key in people}
        return scores({key: (ssim + noise[key]).tolist() for key, ssim in people.items()})

    small = compare(of(0, 0), of(0.0001, 0.002))
    assert not any(one.distinguishable for one in (small, *small.cells))
    large = compare(of(0, 0), of(0.01, 0.002))
    assert all(one.distinguishable for one in (large, *large.cells))
    assert [cell.slices for cell in large.cells] == [24, 24]
    gains = [one.gain for one in large.slices]
    assert gains == sorted(gains) and len(gains) == 48
    better = sum(cell.better * cell.slices for cell in large.cells)
    assert better == pytest.approx(sum(gain > 0 for gain in gains))
