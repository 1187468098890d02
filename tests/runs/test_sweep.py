"""Sweeps: each trial once, by whoever is there; its values by its number alone."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from dealias.config.validate import checked
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DataError, SettingsError
from dealias.runs.folder import RunFolder
from dealias.runs.study.sweep.claims import STALE, Claim, Claims
from dealias.runs.study.sweep.importance import explained, importances
from dealias.runs.study.sweep.points import counted_point
from dealias.runs.study.sweep.prune import below_median
from dealias.runs.study.sweep.run import run_sweep
from dealias.runs.study.sweep.space import PruneSettings, Space, overrides, read_space
from dealias.runs.study.sweep.trial import FAILED, FINISHED, PRUNED, REFUSED, Trial
from dealias.runs.study.sweep.work import LOST, Bench, Sweep, clear
from dealias.training.stops import Stopped

FORK = get_context("fork")
NOBODY = 1 << 30
"""A process number that Linux does not give."""
LR = {"low": 1e-5, "high": 1e-3, "log": True}


def space_of(method: str = "random", prune: Any = None, **settings: Any) -> Space:
    named = {key.replace("__", "."): one for key, one in settings.items()}
    return checked(Space, {"method": method, "seed": 3, "space": named, "prune": prune})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "set"
    settings = SimulateSettings(subjects=3, slices=1, coils=3, size=(32, 24), accelerations=(4,))
    simulate(settings, folder, lambda done: None)
    return folder


@pytest.fixture
def sweep(data: Path, tmp_path: Path) -> Sweep:
    space = space_of(optimiser__lr=LR, network__cascades=[1, 2, 3])
    return Sweep("demo", data, tmp_path / "a", (), space, 12, torch.device("cpu"))


def score(values: dict[str, Any]) -> float:
    """As if the best learning rate were 1e-4, and cascades made no difference."""
    return 0.9 - 0.01 * (math.log10(values["optimiser.lr"]) + 4) ** 2


def pretended(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
    return replace(trial, state=FINISHED, total=score(trial.values), epochs=1)


# --- what is tried ---


def test_a_trial_s_values_depend_on_seed_and_number_alone() -> None:
    space = space_of(optimiser__lr=LR, network__cascades={"low": 4, "high": 6}, loss__area=[True])
    points = [counted_point(space, number) for number in range(300)]
    assert counted_point(space, 7) == points[7] and len({str(one) for one in points}) == 300
    other = space_of(loss__area=[True, False], optimiser__lr=LR)
    # another setting beside it, or another order, changes nothing
    drawn = [point["optimiser.lr"] for point in points]
    assert [counted_point(other, n)["optimiser.lr"] for n in range(300)] == drawn
    seeded = counted_point(space.model_copy(update={"seed": 4}), 7)
    assert seeded["optimiser.lr"] != drawn[7]
    # each factor of ten alike: 300 draws, 5 standard deviations
    assert abs(sum(one < 1e-4 for one in drawn) - 150) < 5 * math.sqrt(75)
    assert all(1e-5 <= one <= 1e-3 for one in drawn)
    counts = np.bincount([point["network.cascades"] for point in points], minlength=7)[4:]
    assert counts.sum() == 300 and abs(counts - 100).max() < 5 * math.sqrt(300 * 2 / 9)


def test_a_grid_has_each_point_once() -> None:
    space = space_of("grid", optimiser__lr=["1e-3", 1e-4], network__cascades=[4, 6, 8])
    assert space.points == 6
    found = [tuple(counted_point(space, number).values()) for number in range(6)]
    assert found == [("1e-3", 4), ("1e-3", 6), ("1e-3", 8), (1e-4, 4), (1e-4, 6), (1e-4, 8)]


def test_values_are_typed_as_overrides_are(sweep: Sweep) -> None:
    values = {"a": None, "b": True, "c": [4, "x y"], "d": {"kind": "ema"}, "e": "8GiB", "f": 1e-5}
    assert overrides(values) == [
        "a=null", "b=true", "c=[4,'x y']", "d={kind:ema}", "e=8GiB", "f=1e-05",
    ]  # fmt: skip
    odd = {"data.train": "it's [0:2]\\", "training.average": {"kind": "ema", "decay": 0.5}}
    recipe = sweep.settings_of({**odd, "optimiser.lr": "1e-3", "masks.accelerations": [4, 8]})
    assert recipe.data.train == odd["data.train"] and recipe.optimiser.lr == 1e-3
    assert recipe.training.average is not None and recipe.training.average.decay == 0.5
    assert recipe.masks.accelerations == (4, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("space: {a: [1]}", "more than one value"),
        ("space: {a: [1, 1]}", "each value once"),
        ("space: {a: {low: 1}}", r"low: \.\.\., high"),
        ("space: {a: {low: 2, high: 1}}", "low that is less"),
        ("space: {a: {low: 0, high: 1, log: true}}", "above 0"),
        ("space: {a: {lo: 1, high: 2}}", "did you mean 'low'"),
        ("method: grid\nspace: {a: {low: 1, high: 2}}", "a is a range"),
        ("space: {'a=b': [1, 2]}", "dotted keys"),
        ("method: bayes\nspace: {a: [1, 2]}", "'tpe'"),
        ("space: {a: [1, 2]}\nsed: 1", "did you mean 'seed'"),
    ],
)
def test_a_space_that_makes_no_sense_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(SettingsError, match=said) as found:
        read_space(tmp_path / "space.yaml")
    assert "\n" not in str(found.value)


# --- who does it ---


def _worker(sweep: Sweep, ready: Any, log: Path) -> None:
    def work(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
        if not log.exists():
            ready.wait(20)  # both have a trial before either has two
        with log.open("a") as file:
            file.write(f"{trial.number}\n")
        return pretended(sweep, trial, claim, bench)

    run_sweep(sweep, work=work)


def test_two_workers_do_all_trials_and_none_twice(sweep: Sweep, tmp_path: Path) -> None:
    ready, logs = FORK.Barrier(2), [tmp_path / "1.log", tmp_path / "2.log"]
    workers = [FORK.Process(target=_worker, args=(sweep, ready, log)) for log in logs]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert [one.exitcode for one in workers] == [0, 0]
    done = [[int(line) for line in log.read_text().split()] for log in logs]
    assert sorted(done[0] + done[1]) == list(range(12)) and all(done)
    alone = run_sweep(replace(sweep, out=tmp_path / "b"), work=pretended)
    assert run_sweep(sweep, work=_never).trials == alone.trials
    totals = [trial.total for trial in alone.trials]
    assert totals == sorted(totals, reverse=True) and alone.left == 0


def _never(*arguments: object) -> Trial:
    raise AssertionError("there was nothing left to do")


def test_what_is_begun_again_does_more_and_not_the_same(sweep: Sweep) -> None:
    few = run_sweep(replace(sweep, trials=5), work=pretended)
    assert {trial.number for trial in few.trials} == set(range(5))
    trained: list[int] = []

    def work(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
        trained.append(trial.number)
        return pretended(sweep, trial, claim, bench)

    more = run_sweep(replace(sweep, trials=8), work=work)
    assert trained == [5, 6, 7] and len(more.trials) == 8


def test_the_trial_of_a_worker_that_died_is_taken_over(sweep: Sweep) -> None:
    def die(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return pretended(sweep, trial, claim, bench)

    worker = FORK.Process(target=run_sweep, args=(sweep,), kwargs={"work": die})
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    left = sweep.records.read(1)
    assert left is not None and not left.ended
    # what it was begun with stands, whatever would be drawn now
    left = replace(left, values={**left.values, "optimiser.lr": 5e-4})
    sweep.records.write(left)
    inherited: dict[int, bool] = {}

    def work(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
        inherited[trial.number] = claim.inherited
        assert trial.number != 1 or trial == left
        return pretended(sweep, trial, claim, bench)

    assert run_sweep(sweep, work=work).left == 0
    assert 0 not in inherited and inherited[1] and not inherited[2]


def test_a_claim_is_one_worker_s_until_it_is_gone(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claim = claims.take(3)
    assert claim is not None and not claim.inherited
    with claim:
        assert claims.take(3) is None
        # a machine that is not this one: its processes cannot be asked, its claim's age can
        claim.path.write_text(json.dumps({"pid": NOBODY, "machine": "elsewhere"}))
        assert claims.take(3) is None
        old = claim.path.stat().st_mtime - STALE - 1
        os.utime(claim.path, (old, old))
        taken = claims.take(3)
        assert taken is not None and taken.inherited and claim.lost and not taken.lost
    # whoever lost it gives nothing back
    assert claims.take(3) is None
    with taken:
        pass
    again = claims.take(3)
    assert again is not None and not again.inherited
    again.path.write_text("")  # as if it were just being written
    assert claims.take(3) is None


def test_of_two_that_see_the_same_claim_free_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(tmp_path)
    first = claims.take(0)
    assert first is not None
    # as if it had looked before the first one's claim was there
    monkeypatch.setattr(claims, "_newest", lambda number: None)
    held = first.path.read_text()
    assert claims.take(0) is None and first.path.read_text() == held


def test_a_living_worker_touches_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dealias.runs.study.sweep.claims.BEAT", 0.001)
    claim = Claims(tmp_path).take(0)
    assert claim is not None
    os.utime(claim.path, (0, 0))
    with claim:
        for _ in range(10_000):
            if claim.path.stat().st_mtime > 0:
                break
            claim._done.wait(0.001)
        else:
            pytest.fail("nobody touched it")


def test_a_trial_that_ended_between_look_and_claim_is_not_done_again(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Claims.take

    def late(self: Claims, number: int) -> Claim | None:
        sweep.records.write(Trial(number, counted_point(sweep.space, number), FAILED, "odd"))
        return take(self, number)

    monkeypatch.setattr(Claims, "take", late)
    found = run_sweep(replace(sweep, trials=2), work=_never)
    assert [trial.reason for trial in found.trials] == ["odd", "odd"]


def test_what_a_worker_on_another_machine_left_is_cleared(tmp_path: Path) -> None:
    run, claims = RunFolder.create(tmp_path / "0", {}, ""), Claims(tmp_path / "claims")
    lock = run.path / "lock.json"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    own = claims.take(0)
    assert own is not None
    with own:
        clear(run.path, own)
        assert lock.exists()
        own.path.write_text('{"machine": "elsewhere"}')
        os.utime(own.path, (0, 0))
        taken = claims.take(0)
    assert taken is not None
    clear(run.path, taken)
    assert not lock.exists() and (run.path / "run.json").exists()
    # a folder in which nothing was begun would be refused
    (run.path / "run.json").unlink()
    clear(run.path, taken)
    assert not run.path.exists()


def test_a_worker_that_was_thought_gone_writes_nothing(sweep: Sweep) -> None:
    def stolen(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
        if trial.number == 0:
            claim.path.with_name("0000.1").write_text('{"machine": "elsewhere"}')
            raise Stopped(LOST)
        return pretended(sweep, trial, claim, bench)

    said: list[str] = []
    found = run_sweep(sweep, warn=said.append, work=stolen)
    assert found.left == 1 and said == [f"trial 0: {LOST}"]
    kept = sweep.records.read(0)
    assert kept is not None and not kept.ended


def test_a_signal_ends_the_sweep_and_gives_its_trial_back(sweep: Sweep) -> None:
    def interrupt(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
        raise Stopped("SIGTERM")

    with pytest.raises(Stopped, match="SIGTERM"):
        run_sweep(sweep, work=interrupt)
    free = Claims(sweep.out / "claims").take(0)
    assert free is not None and not free.inherited


def test_another_sweep_s_folder_is_refused(sweep: Sweep, tmp_path: Path) -> None:
    run_sweep(replace(sweep, trials=1), work=pretended)
    space = sweep.space.model_copy(update={"seed": 4})
    for other, said in (
        (replace(sweep, space=space), r"space\.seed: 3 to 4"),
        (replace(sweep, overrides=("training.epochs=7",)), r"recipe\.training\.epochs: .* to 7"),
        (replace(sweep, trials=None), "how many"),
        (replace(sweep, storage="x.journal"), "method: tpe"),
        (replace(sweep, recipe="smartify_experts", space=space_of("random", {}, a=[1, 2])), "prun"),
        (replace(sweep, space=space_of(optimiser__lrr=[1, 2])), "did you mean 'lr'"),
    ):
        with pytest.raises(SettingsError, match=said):
            run_sweep(other, work=_never)
    simulate(
        SimulateSettings(subjects=3, slices=1, coils=3, size=(32, 24), accelerations=(4,), seed=1),
        tmp_path / "set", lambda done: None,
    )  # fmt: skip
    with pytest.raises(DataError, match="other data"):
        run_sweep(replace(sweep, data=tmp_path / "set"), work=_never)
    (sweep.out / "trials" / "0000.json").write_text('{"number": 0}')
    with pytest.raises(DataError, match="remove it"):
        run_sweep(sweep, work=_never)


# --- when it is given up ---


@pytest.mark.parametrize(
    ("epoch", "own", "said"),
    [
        (1, [(1, 0.1)], None),  # warming up
        (2, [(1, 0.1), (2, 0.69)], "0.6900 is below the median of 3 trials, 0.7000"),
        (2, [(1, 0.1), (2, 0.70)], None),  # not below
        (2, [(1, 0.75), (2, 0.1)], None),  # its best counts
        (3, [(1, 0.1), (2, 0.75), (3, 0.2)], "0.7500 is below the median of 3 trials, 0.8000"),
        (3, [(1, 0.1), (2, 0.75), (3, 0.8), (4, 0.0)], None),
        (2, [], None),  # nothing is known of it
    ],
)
def test_it_is_given_up_below_the_median_of_the_finished(
    epoch: int, own: list[tuple[int, float]], said: str | None
) -> None:
    # at epoch 2 the best are .6, .7, .9; at 3 .6, .8, .95; one has no validation yet
    finished = [
        [(1, 0.6), (2, 0.5), (3, 0.6)], [(2, 0.7), (3, 0.8)], [(1, 0.9), (3, 0.95)], [(9, 0.99)],
    ]  # fmt: skip
    rule = PruneSettings(startup_trials=3, warmup_epochs=1)
    expected = None if said is None else f"pruned at epoch {epoch}: {said}"
    assert below_median(epoch, own, finished, rule) == expected
    more = PruneSettings(startup_trials=4, warmup_epochs=1)
    assert below_median(epoch, own, finished, more) is None
    longer = PruneSettings(startup_trials=3, warmup_epochs=epoch)
    assert below_median(epoch, own, finished, longer) is None


# --- what mattered ---


def trials_of(space: Space, count: int, total: Callable[[dict[str, Any]], float]) -> list[Trial]:
    values = [counted_point(space, number) for number in range(count)]
    return [Trial(i, one, FINISHED, total=total(one)) for i, one in enumerate(values)]


def test_a_setting_that_decides_alone_explains_all() -> None:
    space = space_of("grid", a=[1, 2, 3], b=["x", "y"], c=[True, False])
    found = {
        one.key: one for one in importances(space, trials_of(space, 12, lambda v: v["a"] ** 2))
    }
    assert list(found) == ["a", "b", "c"]
    assert found["a"].share == 1 and found["a"].chance == 0
    assert found["b"].share == found["c"].share == 0 and found["b"].chance == pytest.approx(1)


def test_shares_are_those_of_the_sums_of_squares() -> None:
    # a has effects -1, +1 and b -2, 0, 2: sums of squares 6 and 16 of 22 over the 6 points
    space = space_of("grid", a=[0, 1], b=[0, 1, 2])
    trials = trials_of(space, 6, lambda v: 2.0 * v["a"] + 2.0 * v["b"])
    found = {one.key: one for one in importances(space, trials)}
    # epsilon squared: 1 - (within / free) / (whole / 5)
    assert found["a"].share == pytest.approx(1 - (16 / 4) / (22 / 5))
    assert found["b"].share == pytest.approx(1 - (6 / 3) / (22 / 5))
    # F is 16/2 over 6/3
    assert found["b"].chance == pytest.approx(special.fdtrc(2, 3, 4.0))


def test_chance_explains_nothing_on_average() -> None:
    rng, shares, chances = np.random.default_rng(1), [], []
    for _ in range(400):
        totals = rng.standard_normal(20)
        found = explained(totals, [i % 4 for i in range(20)])
        assert found is not None
        shares.append(found[0])
        chances.append(found[1])
    # half are below 0 and given as 0; 5 % are seen by chance in one of twenty
    assert np.median(shares) < 0.02
    assert abs(np.mean(np.array(chances) < 0.05) - 0.05) < 5 * math.sqrt(0.05 * 0.95 / 400)


def test_a_range_is_cut_and_what_did_not_finish_is_left_out() -> None:
    space = space_of(a={"low": 0.0, "high": 1.0}, b={"low": 0.0, "high": 1.0})
    trials = trials_of(space, 40, lambda v: v["a"])
    rest = trials_of(space, 43, lambda v: 0)[40:]
    states = (PRUNED, FAILED, REFUSED)
    lost = [replace(one, state=to, total=None) for one, to in zip(rest, states, strict=True)]
    found = importances(space, [*trials, *lost])
    assert [one.key for one in found] == ["a", "b"] and found[0].trials == 40
    # four parts of a uniform range leave a sixteenth of its variance
    assert found[0].share == pytest.approx(15 / 16, abs=0.03) and found[1].share < 0.2
    assert importances(space, trials[:2]) == ()
