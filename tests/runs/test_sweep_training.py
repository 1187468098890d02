"""Trials that are trained: pruned, failed, refused, killed and resumed, each with its reason."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.cli.sweep_table import sweep_lines
from dealias.config.validate import checked
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DiskError
from dealias.evaluation.scores import read_scores
from dealias.report.sweep_plot import sweep_figure
from dealias.runs.search import needs_of
from dealias.runs.study.sweep import fits, tpe, work
from dealias.runs.study.sweep.run import Found, run_sweep
from dealias.runs.study.sweep.space import Space
from dealias.runs.study.sweep.trial import FAILED, FINISHED, PRUNED, REFUSED, Trial
from dealias.runs.study.sweep.work import Sweep
from dealias.training.stops import Stopped

FORK = get_context("fork")
SMALL = (
    "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "training.epochs=2", "training.save_minutes=1e-6",
    "masks.each_acceleration=false",
    "masks.accelerations=[4]", "training.validate_every=1",
)  # fmt: skip
LR = {"low": 1e-5, "high": 1e-2, "log": True}


def space_of(**values: Any) -> Space:
    return checked(Space, {"seed": 1, **values})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "set"
    settings = SimulateSettings(subjects=3, slices=1, coils=3, size=(32, 24), accelerations=(4,))
    simulate(settings, folder, lambda done: None)
    return folder


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Found]:
    """Two trials that nothing disturbed; the second one is no good."""
    # a step of 1e-9 learns nothing; its median is that of the one trial before it
    space = space_of(
        method="grid", space={"optimiser.lr": [3e-2, 1e-9]},
        prune={"startup_trials": 1, "warmup_epochs": 0},
    )  # fmt: skip
    out = tmp_path_factory.mktemp("straight") / "a"
    sweep = Sweep("demo", data, out, SMALL, space, None, torch.device("cpu"))
    return sweep, run_sweep(sweep)


def by_number(found: Found) -> dict[int, Trial]:
    return {trial.number: trial for trial in found.trials}


def test_trials_are_runs_and_a_bad_one_is_given_up(straight: tuple[Sweep, Found]) -> None:
    sweep, found = straight
    good, bad = by_number(found)[0], by_number(found)[1]
    assert good.state == FINISHED and good.epochs == 2 and len(good.validations) == 2
    assert found.trials[0].total == max(one.total or 0 for one in found.trials)
    assert bad.state == PRUNED and bad.total is None and bad.epochs == 1
    best = f"{good.validations[0][1]:.4f}"
    own = f"{bad.validations[0][1]:.4f}"
    assert bad.reason == f"pruned at epoch 1: {own} is below the median of 1 trials, {best}"
    run = sweep.records.run(1)
    assert json.loads((run / "run.json").read_text())["ended"] == {
        "state": "stopped", "reason": bad.reason,
    }  # fmt: skip
    assert f"stopped: {bad.reason}" in (run / "log.txt").read_text()
    assert not (run / "lock.json").exists() and (run / "main" / "checkpoints" / "latest").exists()
    lines = list(sweep_lines(found, sweep.space, sweep.out))
    assert lines[2].split("|")[1].strip() == str(found.trials[0].number)
    assert bad.reason in "\n".join(lines)
    # what was given up can go on after all
    from dealias.runs.hooks import Hooks
    from dealias.runs.train import resume

    before = (run / "run.json").read_bytes()
    resume(run, None, ["training.epochs=1"], torch.device("cpu"), Hooks())
    assert json.loads((run / "run.json").read_text())["ended"] is None
    (run / "run.json").write_bytes(before)


def test_a_killed_worker_s_trial_goes_on_where_it_was(
    straight: tuple[Sweep, Found], tmp_path: Path
) -> None:
    sweep, found = replace(straight[0], out=tmp_path / "b"), straight[1]

    def killed() -> None:
        os.environ["DEALIAS_FAULT"] = "step:3:SIGKILL"
        run_sweep(sweep)

    worker = FORK.Process(target=killed)
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert (sweep.records.run(0) / "lock.json").exists()
    again = run_sweep(sweep)
    assert again == found
    facts = json.loads((sweep.records.run(0) / "run.json").read_text())
    assert len(facts["resumed"]) == 1
    rest = json.loads((sweep.records.run(1) / "run.json").read_text())
    assert rest["resumed"] == []
    first, same = (
        next((one.records.run(0) / "model").glob("*.safetensors")).read_bytes()
        for one in (straight[0], sweep)
    )
    assert first == same


def test_what_fails_or_does_not_fit_stays_and_the_rest_goes_on(
    straight: tuple[Sweep, Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(
        method="grid", space={"memory.budget": [None, "100kB"], "network.cascades": [1, 0]}
    )  # fmt: skip
    sweep = replace(straight[0], out=tmp_path / "a", space=space)
    started: list[str] = []
    monkeypatch.setattr(work, "train", lambda sweep, folder, *rest: started.append(folder.name))
    kept = straight[0].records.run(0) / "evaluations" / "val" / "scores.json"
    monkeypatch.setattr(work, "scored", lambda *arguments: read_scores(kept))
    # one policy, where all of them would be counted
    monkeypatch.setattr(fits, "search", lambda plan, budget, tell: needs_of(
        plan, [plan.recipe.memory], tell))  # fmt: skip
    said: list[str] = []
    found = by_number(run_sweep(sweep, warn=said.append))
    assert [found[number].state for number in range(4)] == [FINISHED, FAILED, REFUSED, FAILED]
    assert started == ["0000"]
    assert found[2].reason.startswith("plan ") and found[2].reason.endswith(" > budget 97.7 KiB")
    assert "network.cascades" in found[1].reason and "found 0" in found[1].reason
    assert not sweep.records.run(2).exists()
    assert any(line == f"trial 2: never started: {found[2].reason}" for line in said)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "no memory left"),
        (TypeError("odd\nlines"), "a bug in dealias: TypeError: odd\\nlines"),
    ],
)
def test_a_trial_s_own_trouble_is_its_reason(
    straight: tuple[Sweep, Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: Exception, reason: str,
) -> None:  # fmt: skip
    def break_down(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(work, "train", break_down)
    sweep = replace(straight[0], out=tmp_path / "a", trials=2)
    found = run_sweep(sweep)
    assert [(one.state, one.reason) for one in found.trials] == [(FAILED, reason)] * 2


def test_a_full_disk_ends_the_sweep_and_not_the_trial(
    straight: tuple[Sweep, Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise DiskError("here", "disk full")

    monkeypatch.setattr(work, "train", full)
    sweep = replace(straight[0], out=tmp_path / "a")
    with pytest.raises(DiskError):
        run_sweep(sweep)
    kept = sweep.records.read(0)
    assert kept is not None and not kept.ended


def test_a_signal_while_it_trains_is_no_end_of_a_trial(
    straight: tuple[Sweep, Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any) -> None:
        raise Stopped("SIGTERM")

    monkeypatch.setattr(work, "train", stopped)
    sweep = replace(straight[0], out=tmp_path / "a")
    with pytest.raises(Stopped, match="SIGTERM"):
        run_sweep(sweep)
    kept = sweep.records.read(0)
    assert kept is not None and not kept.ended


def test_the_picture_shows_every_trial_once_in_each_panel() -> None:
    space = space_of(space={"optimiser.lr": LR, "network.name": ["varnet", "unet"]})
    trials = [
        Trial(0, {"optimiser.lr": 1e-4, "network.name": "varnet"}, FINISHED, total=0.9),
        Trial(1, {"optimiser.lr": 1e-3, "network.name": "unet"}, FINISHED, total=0.95),
        Trial(2, {"optimiser.lr": 1e-2, "network.name": "unet"}, PRUNED, "pruned", None, {}, 1,
              ((1, 0.5),)),
        Trial(3, {"optimiser.lr": 1e-2, "network.name": "varnet"}, FAILED, "nan"),
        Trial(4, {"optimiser.lr": 1e-5, "network.name": "unet"}),
    ]  # fmt: skip
    figure = sweep_figure(space, trials, ())
    left, right = figure.axes
    drawn = {one.get_label(): one.get_offsets().tolist() for one in left.collections}
    assert drawn == {
        "finished": [[1e-4, 0.9]], "the best": [[1e-3, 0.95]],
        "pruned, its best validation": [[1e-2, 0.5]], "failed or never started": [[1e-2, 0.0]],
    }  # fmt: skip
    assert left.get_xscale() == "log"
    assert [one.get_offsets().tolist()[0][0] for one in right.collections] == [0, 1, 1, 0]
    assert [label.get_text() for label in right.get_xticklabels()] == ["varnet", "unet"]


# --- where the trials so far were good ---


def peak(sweep: Sweep, trial: Trial, *rest: Any) -> Trial:
    """As if .3 were best, and a third of the space did not fit."""
    x = trial.values["optimiser.lr"]
    if x > 0.7:
        return replace(trial, state=REFUSED, reason="plan > budget")
    return replace(trial, state=FINISHED, total=1 - (x - 0.3) ** 2, validations=((1, 0.5),))


@pytest.fixture
def searched(data: Path, tmp_path: Path) -> Sweep:
    space = space_of(
        method="tpe",
        space={"optimiser.lr": {"low": 1e-9, "high": 1.0}, "network.cascades": [1, 2],
               "training.epochs": 3},
    )  # fmt: skip
    return Sweep("demo", data, tmp_path / "a", (), space, 24, torch.device("cpu"))


def test_tpe_draws_where_trials_were_good_and_goes_on_as_if_uninterrupted(
    searched: Sweep, tmp_path: Path
) -> None:
    found = by_number(run_sweep(searched, work=peak))
    late = [found[number].values["optimiser.lr"] for number in range(10, 24)]
    # of uniform draws the mean distance is .29 +- .053
    assert sum(abs(x - 0.3) for x in late) / 14 < 0.18
    assert found[3].values["training.epochs"] == 3
    other = replace(searched, out=tmp_path / "b")
    run_sweep(replace(other, trials=13), work=peak)
    assert by_number(run_sweep(other, work=peak)) == found


def test_sweeps_on_one_storage_learn_from_each_other(searched: Sweep, tmp_path: Path) -> None:
    import optuna

    journal = str(tmp_path / "sweeps.journal")
    first = replace(searched, storage=journal, trials=6)
    run_sweep(first, work=peak)
    run_sweep(first, work=peak)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))
    (name,) = optuna.get_all_study_names(storage)
    kept = optuna.load_study(study_name=name, storage=storage).trials
    assert len(kept) == 6  # each once, however often they are looked at
    assert sum(one.state.name == "COMPLETE" for one in kept) == sum(
        trial.state == FINISHED for trial in first.records.all()
    )
    # another folder begins with what the first one has learnt
    seen: list[int] = []
    learn = tpe.Proposals._known

    def known(self: Any, ended: Any) -> Any:
        trials = learn(self, ended)
        seen.append(len(trials))
        return trials

    tpe.Proposals._known = known  # type: ignore[method-assign]
    try:
        run_sweep(replace(first, out=tmp_path / "c", trials=1), work=peak)
    finally:
        tpe.Proposals._known = learn  # type: ignore[method-assign]
    assert seen == [6]


def test_without_optuna_a_line_says_so(searched: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from dealias.errors import SettingsError

    with pytest.raises(SettingsError, match="--storage"):
        run_sweep(replace(searched, storage="nowhere://x"), work=peak)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingsError, match=r"dealias\[sweeps\]") as found:
        run_sweep(searched, work=peak)
    assert "\n" not in str(found.value)
    grid = space_of(method="grid", space={"optimiser.lr": [0.1, 0.2]})
    plain = replace(searched, space=grid, out=searched.out.with_name("grid"))
    assert len(run_sweep(plain, work=peak).trials) == 2
