"""`dealias plan` and `dealias doctor` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dealias.cli.app import run
from dealias.cli.cmd_plan import _size
from dealias.cli.main import app
from dealias.cli.plan_table import said_time
from dealias.config.compose import load_recipe
from dealias.data.simulate import SimulateSettings, simulate

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


def test_the_smaller_network_is_offered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.json"
    wanted = ["plan", *SMALL, "network.cascades=3", *SHAPE, "--device", "cpu", "--json", str(out)]
    assert call(*wanted, "--memory", "1KiB") == 0
    assert "nothing fits 1 KiB" in capsys.readouterr().out
    least = min(one["total"] for one in json.loads(out.read_text())["policies"])
    assert call(*wanted, "--memory", str(int(0.95 * least))) == 0
    assert "the largest network that fits" in capsys.readouterr().out
    assert json.loads(out.read_text())["smaller"] != {"cascades": 3, "channels": 4}


def test_without_data_a_slice_is_of_the_usual_size() -> None:
    size = _size(load_recipe("varnet"), None, None, None, None)
    assert str(size) == "16x640x368, target 384x384"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([*SHAPE, "--data", "."], "plan: found --shape, --target or --slices with --data"),
        ([*SHAPE, "--memory", "8 apples"], "--memory: found '8 apples'"),
        ([*SHAPE, "--device", "tpu"], "--device: found 'tpu'"),
        ([*SHAPE, "--days", "3"], "--days: found no number of slices"),
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
    for word in ("torch", "threads", "of RAM", "sgemm", "copy", "cache", "free here", "compile"):
        assert word in said
    assert json.loads(out.read_text())["ceilings"]["cpu"]["flops"] > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.17, "2.17 s"), (2700, "45 min"), (70_200, "19.5 h"), (86_400 * 40.6, "40.6 days")],
)
def test_times_are_read_by_people(seconds: float, text: str) -> None:
    assert said_time(seconds) == text
