"""Final runs: all scans, no score, said everywhere; and the twin that keeps its validation data."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.cli.app import run as command
from dealias.cli.main import app
from dealias.data.catalogue import open_split
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DataError, SettingsError
from dealias.inference.bundle import load_model
from dealias.inference.card import UNVALIDATED
from dealias.report.page import write_report
from dealias.runs import twin
from dealias.runs.folder import RunFolder
from dealias.runs.log import read_log
from dealias.runs.study.scored import scores_of
from dealias.runs.study.series import AS_IT_IS, Arm, Study, run_study
from dealias.runs.train import Hooks, resume, start
from dealias.training.checkpoint import read_checkpoint
from shared import same

CPU = torch.device("cpu")
PARTS = """
network: {name: varnet, cascades: 1, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1}
masks: {kind: snu, accelerations: [4]}
optimiser: {lr: 1e-2}
training: {epochs: 2, threads: 1, save_minutes: null}
"""
STAGES = f"""{PARTS}
stages:
  base: {{}}
  last: {{start: "base:best", set: [data.use_val_for_final=true]}}
"""
FINAL = "data.use_val_for_final=true"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of each anatomy in each set."""
    folder = tmp_path_factory.mktemp("final") / "set"
    settings = SimulateSettings(
        subjects=3, slices=1, coils=2, size=(24, 32), target=(24, 32), accelerations=(4,)
    )
    simulate(settings, folder, lambda done: None)
    return folder


def recipe(folder: Path, text: str = PARTS) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def both(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A final run and its twin, and what the command said."""
    folder = tmp_path_factory.mktemp("both")
    words = ["train", recipe(folder), "--data", str(data), "--out", str(folder / "run"), "--quiet"]
    out = folder / "said"
    with pytest.MonkeyPatch.context() as patch, out.open("w") as file:
        patch.setattr(sys, "stdout", file)
        words += [FINAL, "--twin"]
        assert command(lambda: app(words, standalone_mode=False), debug=True) == 0
    return folder / "run", out.read_text()


def newest(main: Path) -> tuple[Any, dict[str, Any]]:
    checkpoints = main / "checkpoints"
    return read_checkpoint(checkpoints / (checkpoints / "latest").read_text().strip())


def rows(main: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (main / "metrics.jsonl").read_text().splitlines()]
    return [row for row in found if row["kind"] == kind]


def test_a_final_run_trains_on_both_sets_and_validates_nothing(
    data: Path, both: tuple[Path, str]
) -> None:
    run, _ = both
    state, manifest = newest(run / "main")
    scans = [scan for split in ("train", "val") for scan in open_split(data, split)]
    assert [one["id"] for one in manifest["data"]] == [scan.id for scan in scans]
    assert state.step == 2 * len(scans)
    assert len(rows(run / "main", "train")) == 2
    assert rows(run / "main", "val") == []
    for name in ("scores.json", "examples.npz", "checkpoints/best"):
        assert not (run / "main" / name).exists()
    # the last checkpoint is the model, and its profile knows all scans
    model = load_model(run)
    assert same(model.reconstructor.state_dict(), state.network)  # type: ignore[attr-defined]
    assert model.profile is not None
    assert model.profile.volumes == len(scans)


def test_everything_says_that_there_is_no_score(both: tuple[Path, str]) -> None:
    run, said = both
    assert f"final run: {UNVALIDATED}\n" in said
    assert json.loads((run / "run.json").read_text())["final"] == UNVALIDATED
    header = load_model(run).header
    assert header["trained_on_validation"] is True
    assert header["protocol"] is None
    card = (run / "model" / "card.md").read_text()
    assert f"Not at all: {UNVALIDATED}." in card
    assert "Chosen by" not in card
    page = write_report(run).read_text()
    assert f"<strong>Final run.</strong> {UNVALIDATED}" in page
    final, other = read_log(run)
    assert (final.state, final.reason, final.scores) == ("finished", UNVALIDATED, None)
    assert (other.name, other.state, other.reason) == ("twin", "finished", "")
    with pytest.raises(SettingsError, match="no validation score"):
        scores_of(run, None, None)
    # the twin is as any other run
    assert "Chosen by" in (run / "twin" / "model" / "card.md").read_text()
    assert "Final run" not in write_report(run / "twin").read_text()
    assert "trained_on_validation" not in load_model(run / "twin").header


def test_the_twin_is_the_plain_run(data: Path, both: tuple[Path, str], tmp_path: Path) -> None:
    run, _ = both
    start(recipe(tmp_path), data, tmp_path / "plain", [], CPU, Hooks())
    for name in ("main/metrics.jsonl", "main/scores.json"):
        assert (run / "twin" / name).is_file()
    plain, found = newest(tmp_path / "plain" / "main")[0], newest(run / "twin" / "main")[0]
    assert same(plain.network, found.network)
    assert same(plain.totals, found.totals)
    final = newest(run / "main")[0]
    assert not same(final.network, found.network)


def test_the_branch_point_is_the_twins(both: tuple[Path, str], tmp_path: Path) -> None:
    run, said = both
    (words,) = json.loads((run / "run.json").read_text())["branch_point"].values()
    assert f"branch point of main, by the twin: {words}\n" in said
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    # it gains .002 an epoch; between odd and even ones, one of two people wins .02 and one loses
    # it, so that the standard error is .02 there, and 0 elsewhere
    ends = [(0.002 * e, 0.01 * (-1) ** e) for e in range(1, 21)]
    volumes = [[0.9 + gain + swing, 0.7 + gain - swing] for gain, swing in ends]
    made = [
        {"kind": "val", "epoch": epoch, "total": sum(means) / 2, "volumes": means}
        for epoch, means in enumerate(volumes)
    ]
    text = "".join(json.dumps(row) + "\n" for row in made)
    (copy / "twin" / "main" / "metrics.jsonl").write_text(text)
    marks = twin.mark(copy)
    assert (marks["main"].epochs, marks["main"].of, marks["main"].seen) == (11, 20, True)
    facts = json.loads((copy / "run.json").read_text())
    assert facts["branch_point"] == {"main": str(marks["main"])}
    numbers = json.loads((copy / "twin" / "branch.json").read_text())["main"]
    assert (numbers["epochs"], numbers["seen"]) == (11, True)
    assert "after 11 of 20 epochs" in write_report(copy).read_text()


def test_volumes_of_each_epoch_make_its_total(both: tuple[Path, str]) -> None:
    for row in rows(both[0] / "twin" / "main", "val"):
        # one slice a volume, one acceleration
        assert sum(row["volumes"]) / len(row["volumes"]) == pytest.approx(row["total"])


def test_another_machine_may_take_the_twin(
    data: Path, both: tuple[Path, str], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(both[0], tmp_path / "run"))
    shutil.rmtree(copy / "twin" / "main")
    shutil.rmtree(copy / "twin" / "model")
    (copy / "twin" / "main").mkdir()
    RunFolder(copy).record(branch_point=None)
    lock = copy / "twin" / "lock.json"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    said: list[str] = []
    twin.follow(copy, data, CPU, Hooks(say=said.append), 0.0)
    assert "in training elsewhere" in said[0]
    assert not (copy / "twin" / "model").exists()
    # a dead process of this machine holds nothing
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock.write_text(json.dumps({"pid": gone.pid, "host": socket.gethostname()}))
    assert not RunFolder(copy / "twin").held
    lock.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    assert RunFolder(copy / "twin").held
    lock.unlink()
    resume(copy / "twin", data, [], CPU, Hooks())
    before = (copy / "twin" / "main" / "metrics.jsonl").read_bytes()
    twin.follow(copy, data, CPU, Hooks(), 0.0)
    assert (copy / "twin" / "main" / "metrics.jsonl").read_bytes() == before
    (words,) = json.loads((copy / "run.json").read_text())["branch_point"].values()
    assert "2 epochs" in words


FOLLOWERS = ["schedule.name=plateau", "training.early_stop=[[1,0.9]]",
             "augment.strength.kind=slope", "masks.probability.kind=slope"]  # fmt: skip


@pytest.mark.parametrize("follower", FOLLOWERS)
def test_what_follows_a_validation_is_refused_before_the_folder(
    follower: str, data: Path, tmp_path: Path
) -> None:
    more = ["masks.drop={lines: 1}"] if follower.startswith("masks") else []
    key = follower.partition("=")[0]
    with pytest.raises(SettingsError, match=f"use_val_for_final: found true beside {key}"):
        start(recipe(tmp_path), data, tmp_path / "run", [FINAL, follower, *more], CPU, Hooks())
    assert not (tmp_path / "run").exists()


def test_a_scan_in_both_sets_is_refused_all_the_same(data: Path, tmp_path: Path) -> None:
    for final in ([FINAL], []):
        overrides = [*final, "data.val=train"]
        with pytest.raises(DataError, match="the same scan as"):
            start(recipe(tmp_path), data, tmp_path / "run", overrides, CPU, Hooks())
    assert not (tmp_path / "run").exists()


def test_a_twin_is_of_a_final_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--twin.*data.use_val_for_final=true"):
        twin.beside(recipe(tmp_path), data, tmp_path / "run", [], CPU, Hooks())


def test_a_last_stage_may_be_final_and_its_twin_has_every_stage(data: Path, tmp_path: Path) -> None:
    name, run = recipe(tmp_path, STAGES), tmp_path / "run"
    overrides, hooks = ["data.train=train/brain_*", "data.val=val/brain_*"], Hooks()
    begun = twin.beside(name, data, run, overrides, CPU, hooks)
    assert start(name, data, run, overrides, CPU, hooks, begun=begun) == ()
    facts = json.loads((run / "run.json").read_text())
    assert facts["final"] == f"last: {UNVALIDATED}"
    assert (run / "base" / "scores.json").is_file()
    assert not (run / "last" / "scores.json").exists()
    assert json.loads((run / "last" / "run.json").read_text())["final"] == UNVALIDATED
    assert load_model(run).header["trained_on_validation"] is True
    twin.follow(run, data, CPU, hooks, 0.0)
    for stage in ("base", "last"):
        assert (run / "twin" / stage / "scores.json").is_file()
    assert set(json.loads((run / "run.json").read_text())["branch_point"]) == {"base", "last"}
    assert "trained_on_validation" not in load_model(run / "twin").header


def test_what_knows_the_validation_scans_judges_nothing_by_them(data: Path, tmp_path: Path) -> None:
    stages = f"""{PARTS}
stages:
  base: {{set: [{FINAL}]}}
  tuned: {{start: "base:last"}}
"""
    with pytest.raises(SettingsError, match=r"stages.tuned.start.*'base', which was trained on"):
        start(recipe(tmp_path, stages), data, tmp_path / "run", [], CPU, Hooks())
    both = f"""{PARTS}
stages:
  a: {{set: [{FINAL}]}}
  b: {{}}
bundle: {{ensemble: [a, b], weights: fitted}}
"""
    with pytest.raises(SettingsError, match=r"bundle.weights: found fitted, with 'a'"):
        start(recipe(tmp_path, both), data, tmp_path / "run", [], CPU, Hooks())
    study = Study(recipe(tmp_path), data, tmp_path / "study", (FINAL,), 2, CPU)
    with pytest.raises(SettingsError, match=r"data.use_val_for_final: found true"):
        run_study(study, [Arm(AS_IT_IS)])
    assert not (tmp_path / "run").exists()
