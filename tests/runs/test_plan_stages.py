"""Plans of recipes with stages, and of what some days are enough for, against counting by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.catalogue import open_split
from dealias.data.simulate import SimulateSettings, simulate
from dealias.models.varnet import VarNetSettings
from dealias.runs import plan as plans
from dealias.runs import plan_stages
from dealias.runs.footprint import Footprint
from dealias.runs.jobs import planned
from dealias.runs.plan import as_overrides
from dealias.runs.plan_stages import WholePlan, make_whole_plan, within
from dealias.runs.size import Size, size_of_text
from dealias.runs.trainings import trainings_in, trainings_of
from shared import stated_footprint

SMALL = VarNetSettings(
    name="varnet", cascades=3, channels=2, pools=1, sens_channels=2, sens_pools=1
)
STAGES: dict[str, Any] = {
    "base": {"set": ["training.epochs=4"]},
    "tuned": {"start": "base:last", "each": "cell", "set": ["training.accumulation=[[0,1],[1,3]]"]},
}


def recipe(stages: dict[str, Any] | None = None, **more: Any) -> Recipe:
    settings = {"training": {"epochs": 2}, "masks": {"kind": "snu"}, "network": SMALL, **more}
    return Recipe(**{"name": "small", "stages": stages or {}, **settings})


def planned_for(one: Recipe, slices: int | None = 100, budget: int | None = None) -> WholePlan:
    trainings = trainings_of(one, lambda m: size_of_text("2x32x24", "24x24", slices, m))
    return make_whole_plan(trainings, "cpu", budget)


@pytest.fixture(autouse=True)
def counted_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "footprint_of", stated_footprint)
    monkeypatch.setattr(plan_stages, "footprint_of", stated_footprint)


def test_experts_without_data_are_the_challenges_four() -> None:
    each = {"start": "base:last", "each": "cell"}
    whole = recipe({"base": {}, "drawn": each, "own": {**each, "set": ["masks.kind=stored"]}})
    found = trainings_of(whole, lambda m: size_of_text("2x32x24", "24x24", 1000, m))
    names = [f"{one.stage} {one.cell or 'all'} {one.size.slices}" for one in found]
    # drawn masks: an expert sees all of its anatomy; the scan's own: of its acceleration alone
    cells = ("brain-x4", "brain-x8", "knee-x4", "knee-x8")
    assert names == [
        "base all 1000", *(f"drawn {cell} 500" for cell in cells),
        *(f"own {cell} 250" for cell in cells),
    ]  # fmt: skip
    assert [one.assumed for one in found] == [False] + [True] * 8
    assert len({one.counted for one in found}) == 1
    copied = load_recipe("experiments/geekseek_moe")
    sizes = trainings_of(copied, lambda m: Size(1, (8, 8), (8, 8), slices=100 * m.copies))
    assert [one.size.slices for one in sizes] == [50] * 4


def test_with_data_they_are_the_runs_own(tmp_path: Path) -> None:
    settings = SimulateSettings(subjects=3, slices=1, coils=2, size=(24, 32), target=(24, 32))
    simulate(settings, tmp_path, lambda done: None)
    one = recipe(STAGES)
    found, jobs = trainings_in(one, tmp_path), planned(one, tmp_path)
    assert [f"{t.stage}/{t.cell}" for t in found[1:]] == [job.name for job in jobs[1:]]
    for training, job in zip(found, jobs, strict=True):
        assert training.size.slices == sum(scan.slices for scan in job.scans[0])
        assert training.recipe == job.recipe
        assert not training.assumed
    (plain,) = trainings_in(recipe(), tmp_path)
    assert plain.size.slices == sum(scan.slices for scan in open_split(tmp_path, "train"))


def test_the_whole_is_the_sum_and_the_largest() -> None:
    whole = planned_for(recipe(STAGES))
    base, tuned = whole.stages
    (plan,) = base.plans
    step = plan.schedule.step
    assert step is not None
    assert base.seconds == pytest.approx(4 * 100 * step, rel=1e-12)
    # 50 slices a cell: 50 steps of one batch, then 17 of three; the step is of epoch 0
    cell = tuned.plans[0].schedule.step
    assert cell is not None
    assert tuned.seconds == pytest.approx(4 * (50 + 17 * 3) * cell, rel=1e-12)
    assert whole.seconds == pytest.approx(base.seconds + tuned.seconds, rel=1e-12)
    # gradients of earlier batches are there where they are summed
    totals = [stage.largest.shown.training.peak for stage in whole.stages]
    assert totals[1] > totals[0]
    assert whole.largest is tuned.largest
    assert planned_for(recipe(STAGES), None).seconds is None


def test_alike_trainings_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    plain = plan_stages.make_plan

    def make(recipe: Recipe, *more: Any) -> Any:
        made.append(recipe.name)
        return plain(recipe, *more)

    monkeypatch.setattr(plan_stages, "make_plan", make)
    lr = {"start": "base:last", "each": "cell", "set": ["optimiser.lr=2e-5", "training.epochs=9"]}
    whole = planned_for(recipe({"base": {}, "tuned": lr}))
    assert len(made) == 1
    assert whole.stages[1].plans[0].schedule.epochs == 9
    planned_for(recipe({"base": {}, "other": {"set": ["network.channels=3"]}}))
    assert len(made) == 3


def test_a_frozen_part_has_no_gradient_and_no_state() -> None:
    frozen = {"base": {}, "tuned": {"start": "base:last", "freeze": ["cascades.[0-1].*", "sens*"]}}
    base, tuned = (stage.plans[0].shown for stage in planned_for(recipe(frozen)).stages)
    network = Footprint(recipe(), Size(2, (32, 24), (24, 24)), "cpu", None, None).network
    free = sum(
        weights.nbytes
        for name, weights in network(base.policy).named_parameters()
        if name.startswith("cascades.2.")
    )
    assert tuned.trained == free
    assert tuned.optimiser == 2 * free
    assert free < base.trained
    # a backward pass ends where nothing before it is trained: convolutions of two cascades less
    assert tuned.training.flops < 0.8 * base.training.flops
    assert tuned.training.peak < base.training.peak


def test_each_stage_has_its_own_policy_and_budget() -> None:
    stages = {"wide": {}, "narrow": {"set": ["network.channels=1"]}}
    wide, narrow = (stage.plans[0].shown.total for stage in planned_for(recipe(stages)).stages)
    # enough for the narrow one as it is, and for the wide one only with less kept
    budget = (wide + narrow) // 2
    tight = planned_for(recipe(stages), None, budget)
    assert tight.fits
    one, other = (stage.plans[0].chosen for stage in tight.stages)
    assert one is not None
    assert other is not None
    assert one.policy != other.policy
    own = {"wide": {"set": [f"memory.budget={budget}B"]}, "narrow": {}}
    said = planned_for(recipe(own)).stages
    assert said[0].plans[0].overrides == as_overrides(one.policy)
    assert said[1].plans[0].budget is None


def test_days_that_are_enough_need_nothing_smaller() -> None:
    whole = planned_for(recipe())
    assert whole.seconds is not None
    some = within(whole, whole.seconds / 86_400 * 1.001)
    assert some is not None
    assert (some.fits, some.epochs, some.smaller) == (True, 2, None)
    assert within(planned_for(recipe(), None), 1) is None


def in_time(whole: WholePlan, days: float) -> dict[tuple[int, int], float]:
    """Weights of every network that trains all epochs in time, each planned for itself."""
    found = {}
    for channels, cascades in itertools.product((2, 1), (1, 2, 3)):
        network = SMALL.model_copy(update={"channels": channels, "cascades": cascades})
        other = planned_for(recipe(network=network))
        if (other.seconds or 0) <= days * 86_400:
            weights = other.stages[0].plans[0].shown.training.weights
            found[channels, cascades] = weights
    return found


def test_the_largest_network_that_trains_in_time() -> None:
    whole = planned_for(recipe())
    assert whole.seconds is not None
    days = 0.75 * whole.seconds / 86_400
    some = within(whole, days)
    assert some is not None
    assert not some.fits
    assert some.epochs == 1
    possible = in_time(whole, days)
    assert some.smaller is not None
    assert some.smaller_seconds is not None
    assert possible[some.smaller["channels"], some.smaller["cascades"]] == max(possible.values())
    assert some.smaller_seconds <= days * 86_400
    assert [one for one in some.overrides if one.startswith("network.")] == [
        f"network.{key}={value}" for key, value in some.smaller.items()
    ]


def test_stages_of_one_network_get_smaller_together_and_others_do_not() -> None:
    whole = planned_for(recipe(STAGES))
    assert whole.seconds is not None
    some = within(whole, 0.5 * whole.seconds / 86_400)
    assert some is not None
    assert some.epochs is None
    assert some.share == pytest.approx(0.5)
    assert some.smaller is not None
    network = SMALL.model_copy(update=some.smaller)
    other = planned_for(recipe(STAGES, network=network)).seconds
    assert other is not None
    # cells accumulate and the base does not, so their steps are not quite in proportion
    assert some.smaller_seconds == pytest.approx(other, rel=0.02)
    different = planned_for(recipe({"a": {}, "b": {"set": ["network.channels=1"]}}))
    assert different.seconds is not None
    none = within(different, 0.5 * different.seconds / 86_400)
    assert none is not None
    assert not none.fits
    assert none.smaller is None
