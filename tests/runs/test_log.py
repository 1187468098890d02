"""The log of runs: parents, changes, notes, verdicts against noise, and how each one ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dealias.cli.app import run as run_command
from dealias.cli.main import app
from dealias.errors import HealthError, SettingsError
from dealias.evaluation.scores import Scores, summarise, write_scores
from dealias.metrics.protocol import protocol_named
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.runs.folder import RunFolder
from dealias.runs.log import Entry, read_log
from dealias.runs.log_verdict import judged
from dealias.runs.study.sweep.trial import REFUSED, Records, Trial
from dealias.scan.scan import Cell
from dealias.training.stops import Stopped


def scores(total: float, names: Sequence[str] = ("a", "b")) -> Scores:
    volumes = [
        VolumeScores(name, Cell("brain", 4), "snu2025", (SliceScores(0, total, 30.0, 0.01, 1),))
        for name in names
    ]
    return summarise(protocol_named("snu2025"), volumes)


def make(path: Path, total: float | None = None, *, done: bool = True, **facts: Any) -> RunFolder:
    folder = RunFolder.create(path, {"recipe": "demo", **facts}, "training: {epochs: 2}\n")
    main = path if "stage" in facts else folder.main
    if total is not None:
        write_scores(main / "scores.json", scores(total, facts.get("names", ("a", "b"))))
    if done:
        (main / "finished.json").write_text('{"stopped": null}')
        (path / "model").mkdir()
        (path / "model" / "bundle.json").write_text("{}")
    return folder


def log(folder: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in judged(read_log(folder))}


def test_a_gain_is_judged_by_the_noise_of_its_recipe(tmp_path: Path) -> None:
    make(tmp_path / "alone", 0.90, overrides=["optimiser.lr=1e-2"])
    assert log(tmp_path)["alone"].verdict == ""
    for seed, total in ((1, 0.9000), (2, 0.9010), (3, 0.9020)):
        make(
            tmp_path / "n" / "as-it-is" / f"seed-{seed}", total, overrides=[f"training.seed={seed}"]
        )
    make(tmp_path / "better", 0.9080, overrides=["loss.area=true"])
    make(tmp_path / "same", 0.9050, overrides=["loss.area=true"])
    make(tmp_path / "worse", 0.8930, overrides=["loss.area=true"])
    make(tmp_path / "half", 0.95, done=False, overrides=["loss.area=true"])
    make(tmp_path / "elsewhere", 0.95, overrides=["loss.area=true"], names=["c"])
    found = log(tmp_path)
    # s = .001 over 3 seeds: t(2) = 4.3027, times sqrt 2 is .0061
    assert found["better"].verdict == "better than demo as it is by 0.0070 (noise 0.0061)"
    assert found["same"].verdict == "within noise of demo as it is (+0.0040, noise 0.0061)"
    assert found["worse"].verdict == "worse than demo as it is by 0.0080 (noise 0.0061)"
    # not its end yet, other slices, and the reference itself
    assert found["half"].verdict == found["elsewhere"].verdict == ""
    assert found["n/as-it-is/seed-2"].verdict == ""


def test_without_a_noise_study_nothing_is_claimed(tmp_path: Path) -> None:
    make(tmp_path / "a", 0.90, overrides=[])
    make(tmp_path / "b", 0.95, overrides=["optimiser.lr=1e-2"])
    assert log(tmp_path)["b"].verdict == "+0.0500 beside a, noise unknown"


def test_parents_changes_and_notes(tmp_path: Path) -> None:
    make(
        tmp_path / "a", overrides=["optimiser.lr=1e-3"], note="a smaller step | is enough",
        resumed=[{"overrides": []}, {"overrides": ["training.epochs=9"]}],
    )  # fmt: skip
    top = tmp_path / "s"
    make(top, done=False, overrides=[], stages=["base", "experts/brain-x4"])
    make(top / "base", 0.90, stage="base")
    expert = make(top / "experts/brain-x4", 0.91, stage="experts/brain-x4", start="base:last")
    (expert.path / "settings.yaml").write_text("training: {epochs: 5}\n")
    make(tmp_path / "t" / "more", 0.92, stage="more", start=str(top / "base"))
    found = log(tmp_path)
    assert found["a"].changes == ("optimiser.lr=1e-3", "training.epochs=9")
    assert found["a"].parent is None and found["a"].note == "a smaller step | is enough"
    assert found["s"].state == "2 of 2 stages"
    assert found["s/base"].parent is None and found["s/base"].changes == ()
    assert found["s/experts/brain-x4"].parent == "s/base"
    assert found["s/experts/brain-x4"].changes == ("training.epochs: 2 to 5",)
    assert found["s/experts/brain-x4"].verdict == "+0.0100 beside s/base, noise unknown"
    assert found["t/more"].parent == "s/base"
    lines = list(runs_lines_of(tmp_path))
    assert "a smaller step \\| is enough" in lines[2]


def runs_lines_of(folder: Path) -> list[str]:
    from dealias.cli.runs_table import runs_lines

    return list(runs_lines(judged(read_log(folder))))


def test_how_each_run_ended(tmp_path: Path) -> None:
    def ended(name: str, error: BaseException) -> None:
        folder = make(tmp_path / name, done=False)
        with pytest.raises(type(error)), folder.locked(), folder.telling():
            raise error

    ended("asked", Stopped("SIGTERM"))
    ended("ill", HealthError("step 3", "loss nan", "", "lower optimiser.lr"))
    ended("settings", SettingsError("memory.budget", "8GiB"))
    ended("bug", ZeroDivisionError("division by zero\x1b[2J"))
    ended("memory", MemoryError())
    ended("interrupted", KeyboardInterrupt())
    make(tmp_path / "fine")
    make(tmp_path / "old", done=False)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for name, pid, host in (
        ("died", child.pid, socket.gethostname()), ("runs", os.getpid(), socket.gethostname()),
        ("there", 1, "elsewhere"),
    ):  # fmt: skip
        folder = make(tmp_path / name, done=False)
        (folder.path / "lock.json").write_text(json.dumps({"pid": pid, "host": host}))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text("[1")
    found = {name: (entry.state, entry.reason) for name, entry in log(tmp_path).items()}
    assert found == {
        "asked": ("stopped", "SIGTERM"),
        "ill": ("failed", "step 3: found loss nan; lower optimiser.lr"),
        "settings": ("failed", "memory.budget: found 8GiB"),
        "bug": ("failed", "a bug in dealias: ZeroDivisionError: division by zero\\x1b[2J"),
        "memory": ("failed", "no memory left"),
        "interrupted": ("stopped", "interrupted"),
        "fine": ("finished", ""),
        "old": ("not finished", ""),
        "died": ("died", f"process {child.pid} is gone, and left no reason"),
        "runs": ("running", ""),
        "there": ("running", "on elsewhere, if it is there"),
        "odd": ("damaged", found["odd"][1]),
    }
    text = (tmp_path / "ill" / "log.txt").read_text()
    assert "failed: step 3: found loss nan" in text
    # a run that goes on is no longer one that failed
    folder = RunFolder(tmp_path / "ill")
    with folder.locked(), folder.telling():
        assert folder.facts()["ended"] is None


def test_whoever_is_refused_by_a_lock_writes_no_reason(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", done=False)
    (folder.path / "lock.json").write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere"}))
    with pytest.raises(SettingsError, match="in use"), folder.locked(), folder.telling():
        pass
    assert "ended" not in folder.facts()


def test_trials_that_were_never_started_are_in_the_log(tmp_path: Path) -> None:
    records = Records(tmp_path / "a" / "trials")
    make(records.run(0), 0.9, overrides=["network.cascades=1"])
    records.write(Trial(0, {"network.cascades": 1}, "finished"))
    records.write(Trial(1, {"network.cascades": 9}, REFUSED, "plan 9.1 GiB > budget 8 GiB"))
    records.write(Trial(2, {"network.cascades": 2}))
    (tmp_path / "a" / "sweep.json").write_text('{"recipe": {"name": "demo"}}')
    found = log(tmp_path)
    assert set(found) == {"a/trials/0000", "a/trials/0001"}
    one = found["a/trials/0001"]
    assert (one.state, one.reason) == ("never started", "plan 9.1 GiB > budget 8 GiB")
    assert one.recipe == "demo" and one.changes == ("network.cascades=9",)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "a", 0.90, overrides=[])
    make(tmp_path / "b", done=False, overrides=["optimiser.lr=1e-2"], note="why not")
    words = ["runs", str(tmp_path), "--json", str(tmp_path / "log.json")]
    assert run_command(lambda: app(words, standalone_mode=False), debug=True) == 0
    said = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in said[3].split("|")[1:-1]] == [
        "b", "recipe demo", "optimiser.lr=1e-2", "why not", "", "", "not finished",
    ]  # fmt: skip
    kept = json.loads((tmp_path / "log.json").read_text())["runs"]
    assert [one["name"] for one in kept] == ["a", "b"] and kept[0]["total"] == 0.9
    (tmp_path / "empty").mkdir()
    for words in (["runs", str(tmp_path / "empty")], ["runs", str(tmp_path / "none")]):
        assert run_command(lambda w=words: app(w, standalone_mode=False), debug=False) == 2
        assert capsys.readouterr().err.startswith("error: FOLDER: found ")
