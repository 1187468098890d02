"""`dealias plan` and `dealias doctor` as a user calls them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from dealias.cli.app import run
from dealias.cli.cmd_plan import _size_of
from dealias.cli.main import app
from dealias.cli.plan_table import said_time
from dealias.data.remask import MaskSettings
from dealias.data.simulate import SimulateSettings, simulate
from dealias.runs import plan as plans
from dealias.runs import plan_stages
from dealias.sizes import said_memory
from shared import stated_footprint

SMALL = [
    "varnet", "network.cascades=1", "network.channels=4", "network.pools=1",
    "network.sens_channels=2", "network.sens_pools=1", "network.readout_crop=0",
]  # fmt: skip
SHAPE = ["--shape", "5x48x40", "--target", "40x40"]


def call(*arguments: str) -> int:
    return run(lambda: app(list(arguments), standalone_mode=False), debug=False)


def test_a_plan_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.json"
    more = ["--memory", "1GiB", "--slices", "100", "--days", "30", "--device", "cpu"]
    assert call("plan", *SMALL, *SHAPE, *more, "--json", str(out)) == 0
    said = capsys.readouterr().out
    assert "5x48x40, target 40x40" in said
    assert "the fastest that fits 1 GiB: memory.cascades=" in said
    assert "50 epochs fit 30 days" in said
    plan = json.loads(out.read_text())
    assert f"--out runs/a {' '.join([*SMALL[1:], *plan['overrides']])}" in said
    peak = plan["chosen"]["training"]
    parts = ("weights", "gradients", "inputs", "activations", "transients")
    assert peak["peak"] == sum(peak[part] for part in parts)
    assert plan["schedule"]["steps"] == 100
    assert len(plan["policies"]) > 5


def test_too_few_days_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    days = ["--slices", "100000", "--days", "0.01"]
    assert call("plan", *SMALL, *SHAPE, *days, "training.epochs=1000", "--device", "cpu") == 0
    assert "1000 epochs do NOT fit 0.01 days" in capsys.readouterr().out


def test_the_size_comes_from_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(
        SimulateSettings(subjects=3, slices=2, coils=3, size=(48, 40)),
        tmp_path / "set",
        lambda done: None,
    )
    assert call("plan", *SMALL, "--data", str(tmp_path / "set"), "--device", "cpu") == 0
    said = capsys.readouterr().out
    assert "largest slice 3x" in said
    assert f"--data {tmp_path / 'set'}" in said
    assert "an epoch of" in said


@pytest.fixture
def stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of a device that is stated, and nothing to measure."""
    for module in (plans, plan_stages):
        monkeypatch.setattr(module, "footprint_of", stated_footprint)


def test_the_smaller_network_is_offered(
    stated: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.json"
    small = ["network.cascades=2", "network.channels=2"]
    wanted = ["plan", *SMALL, *small, *SHAPE, "--device", "cpu", "--json", str(out)]
    assert call(*wanted, "--memory", "1KiB") == 0
    assert "nothing fits 1 KiB" in capsys.readouterr().out
    least = min(one["total"] for one in json.loads(out.read_text())["policies"])
    assert call(*wanted, "--memory", str(int(0.95 * least))) == 0
    assert "the largest network that fits" in capsys.readouterr().out
    assert json.loads(out.read_text())["smaller"] != {"cascades": 2, "channels": 2}


def test_the_network_for_the_days_is_offered(
    stated: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.json"
    more = ["--slices", "1000", "--device", "cpu", "--json", str(out)]
    wanted = ["plan", *SMALL, "network.cascades=2", *SHAPE, "training.epochs=10", *more]
    assert call(*wanted) == 0
    days = 0.7 * json.loads(out.read_text())["schedule"]["total"] / 86_400
    assert call(*wanted, "--days", str(days)) == 0
    found = json.loads(out.read_text())["days"]
    said = capsys.readouterr().out
    assert f"training.epochs=7 would, or all of {' '.join(found['overrides'])} (about " in said
    assert found["smaller"]["cascades"] < 2 or found["smaller"]["channels"] < 4


STAGES = """
network: {name: varnet, cascades: 2, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1}
masks: {kind: snu}
training: {epochs: 3}
stages:
  base: {}
  experts: {start: "base:last", each: cell, freeze: ["sensitivity.*"], set: [training.epochs=5]}
"""


def test_stages_have_a_row_each(
    stated: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "mine.yaml", tmp_path / "plan.json"
    recipe.write_text(STAGES)
    more = ["--slices", "100", "--device", "cpu", "--memory", "1GiB", "--json", str(out)]
    assert call("plan", str(recipe), *SHAPE, *more, "--days", "1000") == 0
    said = capsys.readouterr().out
    assert "experts, part frozen" in said
    assert "4 assumed" in said
    assert "cells are assumed: brain and knee" in said
    found = json.loads(out.read_text())
    assert f"{said_time(found['seconds'])}, all 5 trainings one after another" in said
    assert f"{said_time(found['seconds'])} fit 1000 days" in said
    assert f"{said_memory(found['total'])} at most" in said
    assert [one["stage"] for one in found["trainings"]] == ["base", *["experts"] * 4]
    assert [one["cell"] for one in found["trainings"][1:3]] == ["brain-x4", "brain-x8"]
    total = sum(one["schedule"]["total"] for one in found["trainings"])
    assert found["seconds"] == pytest.approx(total, rel=1e-12)
    assert found["total"] == max(one["chosen"]["total"] for one in found["trainings"])
    assert said.splitlines()[-1].endswith("--out runs/a memory.budget=1GiB")


def test_a_stage_that_does_not_fit_is_named(
    stated: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(STAGES.replace('freeze: ["sensitivity.*"], ', ""))
    assert call("plan", str(recipe), *SHAPE, "--device", "cpu", "--memory", "1KiB") == 0
    said = capsys.readouterr().out
    for stage in ("base", "experts"):
        assert f"stage {stage}: nothing fits 1 KiB" in said
    assert "next: " not in said
    assert "unknown, all 5 trainings" in said


def test_a_deadline_that_is_over_is_an_answer(
    stated: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.json"
    wanted = ["plan", *SMALL, *SHAPE, "--slices", "100", "--device", "cpu", "--json", str(out)]
    assert call(*wanted, "--deadline", "2001-01-01") == 0
    assert "deadline   2001-01-01 24:00 is too late for" in capsys.readouterr().out
    assert json.loads(out.read_text())["deadline"]["share"] == 0
    assert call(*wanted, "--deadline", "2999-01-01T12:00", "--reserve", "1") == 0
    said = capsys.readouterr().out
    assert "deadline   2999-01-01 12:00: " in said
    assert "with a reserve of 100%" in said
    found = json.loads(out.read_text())["deadline"]
    latest, careful, due = (
        datetime.datetime.fromisoformat(found[key]) for key in ("latest", "careful", "due")
    )
    assert (due - latest).total_seconds() == pytest.approx(found["seconds"], abs=1e-3)
    assert latest - careful == due - latest


def test_maps_that_workers_make_are_told(stated: None, capsys: pytest.CaptureFixture[str]) -> None:
    maps = ["varnet", "network.cascades=1", "network.channels=2", "network.pools=1",
            "network.maps=espirit", "memory={cascades: keep, coils: null}"]  # fmt: skip
    shape = ["--shape", "2x32x64", "--target", "32x32", "--device", "cpu"]
    assert call("plan", *maps, *shape, "training.workers=3") == 0
    assert "maps       ESPIRiT's maps are made on the CPU by 3 workers, " in capsys.readouterr().out
    assert call("plan", *SMALL, *SHAPE, "--device", "cpu") == 0
    assert "ESPIRiT" not in capsys.readouterr().out


def test_without_data_a_slice_is_of_the_usual_size() -> None:
    size = _size_of(None, None, None)(MaskSettings())
    assert str(size) == "16x640x368, target 384x384"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([*SHAPE, "--data", "."], "plan: found --shape, --target or --slices with --data"),
        ([*SHAPE, "--memory", "8 apples"], "--memory: found '8 apples'"),
        ([*SHAPE, "--device", "tpu"], "--device: found 'tpu'"),
        ([*SHAPE, "--days", "3"], "--days: found no number of slices"),
        ([*SHAPE, "--deadline", "2026-08-14"], "--deadline: found no number of slices"),
        ([*SHAPE, "--slices", "9", "--deadline", "soon"], "--deadline: found 'soon'"),
        (["--shape", "48x40"], "--shape: found '48x40'"),
        ([*SHAPE, "memory.budget=much"], "memory.budget: found 'much'"),
    ],
)
def test_mistakes_are_one_line(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", *SMALL, *wrong) == 2
    error = capsys.readouterr().err
    assert f"error: {said}" in error
    assert error.count("\n") == 1


def test_the_doctor_tells_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "doctor.json"
    assert call("doctor", "--json", str(out)) == 0
    said = capsys.readouterr().out
    for word in (
        "torch",
        "threads",
        "of RAM",
        "sgemm",
        "copy",
        "cache",
        "free here",
        "compile",
        "cpu kernels",
    ):
        assert word in said
    assert json.loads(out.read_text())["ceilings"]["cpu"]["flops"] > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.17, "2.17 s"), (2700, "45 min"), (70_200, "19.5 h"), (86_400 * 40.6, "40.6 days")],
)
def test_times_are_read_by_people(seconds: float, text: str) -> None:
    assert said_time(seconds) == text
