"""The page about studies: its commands run as they are shown, and say what it says."""

from __future__ import annotations

import json
import os
import re
from multiprocessing import get_context
from pathlib import Path

import pytest

from dealias.cli.app import run
from dealias.cli.main import app
from dealias.config.compose import load_recipe
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DataError, HealthError
from dealias.runs.study import repro
from dealias.runs.study.sweep.space import overrides, read_space
from dealias.runs.study.watch import Event, Step

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "studies.md"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    settings = SimulateSettings(
        subjects=3, slices=1, coils=3, size=(32, 24), target=(24, 24), accelerations=(4,)
    )
    simulate(settings, tmp_path / "study-data", lambda done: None)
    return tmp_path / "study-data"


def test_the_commands_run_as_they_are_shown(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # a new interpreter takes seconds to start; the slow test below has two of them
    monkeypatch.setattr(repro, "CONTEXT", get_context("fork"))
    monkeypatch.chdir(data.parent)
    text = PAGE.read_text()
    (recipe,) = re.findall(r"```yaml\n# small.yaml\n(.*?)```", text, flags=re.DOTALL)
    Path("small.yaml").write_text(recipe)
    (space,) = re.findall(r"```yaml\n# space.yaml\n(.*?)```", text, flags=re.DOTALL)
    Path("space.yaml").write_text(space)
    shown = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.split() for block in shown for line in block.splitlines()]
    assert [words[1:3] for words in commands] == [
        ["study", "repro"], ["study", "noise"], ["study", "ablate"],
        ["study", "sweep"], ["compare", "studies/a/as-it-is/seed-430"], ["runs", "studies"],
    ]  # fmt: skip
    said = []
    for _, *words in commands:
        extra = ["--json", "found.json"] if words[0] == "compare" else []
        assert run(lambda w=[*words, *extra]: app(w, standalone_mode=False), debug=True) == 0
        said.append(capsys.readouterr().out)
    repeated, noise, ablate, sweep, compare, runs = said
    assert repeated == "identical: 2 steps twice, every loss, gradient norm and weight bit-equal\n"
    assert noise.splitlines()[-1] == "SSIM by snu2025, 2 seeds"
    rows = [line.split("|")[1].strip() for line in noise.splitlines()[2:-1]]
    assert rows == ["brain-x4", "knee-x4", "total"]
    names = [line.split("|")[1].strip() for line in ablate.splitlines()[2:-1]]
    assert names == ["slow"] * 3
    found = json.loads(Path("found.json").read_text())
    assert f"{found['total']:+.5f}" in compare
    first, second = (line for line in (found["slices"][0], found["slices"][-1]))
    gains = [one["second"] - one["first"] for one in (first, second)]
    assert f"most lost: {first['name']} slice {first['z']} {gains[0]:+.5f}" in compare
    assert f"most gained: {second['name']} slice {second['z']} {gains[1]:+.5f}" in compare
    trials = [line.split("|")[1:4] for line in sweep.splitlines()[2:4]]
    assert sorted(one[1].strip() for one in trials) == ["1e-3", "1e-4"]
    assert float(trials[0][2]) >= float(trials[1][2])
    assert "picture: sweeps/a/sweep.png" in sweep and Path("sweeps/a/sweep.png").stat().st_size > 0
    assert [line.split("|")[1].strip() for line in runs.splitlines()[2:-1]] == [
        "a/as-it-is/seed-430", "a/as-it-is/seed-431", "a/without-slow/seed-430",
        "a/without-slow/seed-431",
    ]  # fmt: skip
    assert runs.count("of demo as it is") == 0 and runs.count("small as it is") == 2
    # one person in each cell: nothing is known of others
    assert compare.count("not distinguishable") == 3


def test_files_the_page_names_exist() -> None:
    for name in re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|yaml))`", PAGE.read_text()):
        assert (PAGE.parents[2] / "src" / "dealias" / name).is_file(), name


def test_another_training_has_exit_code_5_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = [
        repro.Trace((Step(0.25 + off, 1.0, off, (Event("a.b", "the output of a.b", off),)),), {})
        for off in (0, 1)
    ]
    monkeypatch.setattr(repro, "twice", lambda *arguments: traces)
    words = ["study", "repro", "demo", "--data", "none", "--steps", "1"]
    assert run(lambda: app(words, standalone_mode=False), debug=True) == 5
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "not identical: step 1 of 1 is the first that differs"
    assert said[1] == "mean loss so far: 0.25 and 1.25 (+1)"
    assert said[3] == "first differing module: a.b (the output of a.b)"


def test_what_goes_wrong_in_a_process_is_said_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repro, "CONTEXT", get_context("fork"))
    with pytest.raises(DataError, match="split 'train'"):
        repro.twice(repro.Request("demo", tmp_path / "none"))
    monkeypatch.setattr(repro, "_train", lambda sender, request: os._exit(9))
    with pytest.raises(HealthError, match=r"its process ended \(9\)"):
        repro.twice(repro.Request("demo", tmp_path / "none"))


@pytest.mark.slow
def test_two_new_interpreters_train_the_same(data: Path) -> None:
    small = ("network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_pools=1")
    told: list[int] = []
    request = repro.Request("demo", data, small, "cpu", 3)
    one, other = repro.twice(request, told.append)
    assert len(one.steps) == 3 and told == [1] * 6
    assert repro.first_difference(one, other) is None


def test_the_larger_space_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(method: tpe.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "space.yaml").write_text(text)
    space = read_space(tmp_path / "space.yaml")
    first = {key: one.first for key, one in space.space.items()}
    recipe = load_recipe("varnet", overrides(first))
    assert (recipe.optimiser.lr, recipe.memory.budget) == (1e-5, "8GiB")
