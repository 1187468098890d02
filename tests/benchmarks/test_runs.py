"""Benchmarks at a tiny size, from the command line to the page."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from performance import page
from performance_results import read

import growth
import networks
import varnet
from dealias.engine.policies import MemoryPolicy
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.runs.size import Size
from rows import COMPILED, OFFICIAL_READY, ROWS

import plan  # isort: skip

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a script's main with arguments, and gives its result file's content."""

    def called(script: Any, *typed: str) -> dict[str, Any]:
        path = tmp_path / "results" / f"2026-01-31-{script.__name__}.json"
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *typed, "--out", str(path)])
        script.main()
        values: dict[str, Any] = json.loads(path.read_text())
        assert page(read(path.parent)).count("\n### ") == 1
        return values

    return called


def test_varnet_in_rows(run: Run) -> None:
    found = run(varnet, "--size", "2x48x32", "--target", "32", "--cascades", "1", "--channels", "2",
                "--rows", "crop; crop, leanest", "--rounds", "1")  # fmt: skip
    assert list(found["training"]) == ["official", "crop", "crop, leanest"]
    assert list(found["inference"])[:2] == ["official", OFFICIAL_READY]
    assert found["difference"] < 1e-5
    assert found["training"]["crop"]["wall"][1] > 0


def test_a_network_against_its_published_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "parity"))
    source = tmp_path / "source"
    said = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-ma"]
    for words in (["init", "-q"], said):
        source.mkdir(exist_ok=True)
        subprocess.run(["git", "-C", str(source), *words], check=True)
    found = run(networks, "--script", str(ROOT / "tests/parity/fastmri_networks.py"), "--source",
                str(source), "--case", "fastmri-varnet", "--size", "2x32x28",
                "--rounds", "1", "--together")  # fmt: skip
    assert list(found["training"]) == ["official", "all kept", "recompute", "leanest"]
    assert found["difference"] < 1e-4
    memory = {name: one["peak"] for name, one in found["training memory"].items()}
    assert memory["leanest"] < memory["official"]
    assert "DATA" not in found["command"] and "SOURCE" in found["command"]


def test_a_row_that_does_nothing_here_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, said in (("crop, recompute, parked", "on a CPU everything"), ("x", "found 'x'")):
        with pytest.raises(SystemExit):
            run(varnet, "--rows", name)
        assert said in capsys.readouterr().err


def test_the_step_that_compiles_is_told_apart() -> None:
    done: list[str] = []

    def step(name: str) -> None:
        done.append(name)
        time.sleep(0.1)

    def short() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    rows = dict.fromkeys(("crop", "plain"), ROWS["crop"])
    rows |= dict.fromkeys(("compiled", "short"), COMPILED["crop, compiled"])
    calls = {name: lambda name=name: step(name) for name in rows} | {"short": short}
    found = varnet.first_steps(calls, rows, CPU)
    assert done == list(found) == ["compiled"]
    assert found["compiled"] >= 0.1


def test_what_cannot_be_compiled_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = varnet.options(), "crop; crop, compiled", CPU
    monkeypatch.setattr(varnet, "compiling_on", lambda device: "works")
    assert list(varnet.chosen(*asked)) == ["crop", "crop, compiled"]
    monkeypatch.setattr(varnet, "compiling_on", lambda device: "no: no C++ compiler found")
    assert list(varnet.chosen(*asked)) == ["crop"]
    assert "left out: no: no C++ compiler found" in capsys.readouterr().out
    assert list(varnet.chosen(varnet.options(), "", CPU)) == list(ROWS)


def test_growth_measures_each_point_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measured(point: growth.Point, rounds: int, device: torch.device) -> dict[str, Any]:
        seen.append(point)
        one = {"wall": [1.0] * 3, "cpu": [1.0] * 3, "peak": 1}
        return dict.fromkeys(("official", *growth.SHOWN), one)

    monkeypatch.setattr(growth, "measured", measured)
    found = run(growth)
    assert len(seen) == len(set(seen)) == 10
    assert [point["coils"] for point in found["sweeps"]["coils"]] == [4, 8, 16, 24]
    assert {(p["coils"], p["cascades"]) for p in found["sweeps"]["size"]} == {(8, 2)}
    assert {(p["coils"], p["size"]) for p in found["sweeps"]["cascades"]} == {(8, "320x184")}


@pytest.mark.slow
def test_a_point_of_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CHANNELS", 2)
    small, large = (growth.measured(growth.Point(coils, "48x32", 1), 1, CPU)
                    for coils in (2, 6))  # fmt: skip
    for name in ("official", *growth.SHOWN):
        assert large[name]["peak"] > small[name]["peak"]
        assert small[name]["wall"][1] > 0
    # a chunk of coils at a time: what grows is the data
    grown = {name: large[name]["peak"] - small[name]["peak"] for name in large}
    assert grown["crop, leanest"] < 0.5 * grown["official"]


def test_the_plan_holds_against_the_allocator(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny = VarNetSettings(cascades=1, channels=4, pools=1, sens_channels=4, sens_pools=1)
    policies = (plan.KEEP, MemoryPolicy(cascades="recompute", coils=2))
    size = Size(4, (96, 64), (64, 64))
    monkeypatch.setattr(plan, "CASES", {
        "VarNet": plan.Case(tiny, size, policies),
        "U-Net": plan.Case(UnetSettings(channels=4, pools=1), size),
    })  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    found = run(plan, "--cases", "VarNet; U-Net", "--rounds", "1")
    assert not (tmp_path / "own").exists(), "measured before is not measured now"
    assert list(found["cases"]["VarNet"]["training"]) == ["keep", "cascades=recompute coils=2"]
    assert list(found["cases"]["VarNet"]["inference"]) == ["keep", "coils=2"]
    assert found["ceilings"]["flops"] > 0
    for one in found["cases"].values():
        assert one["plan_warm"] < one["plan_cold"]
        for row in (*one["training"].values(), *one["inference"].values()):
            assert abs(row["planned"]["peak"] / row["measured"]["peak"] - 1) < 0.05
            assert row["planned"]["seconds"] > 0


def test_a_step_leaves_no_gradients_for_the_next_policy() -> None:
    case = plan.Case(UnetSettings(channels=2, pools=1), Size(2, (32, 32), (32, 32)))
    truth = plan.Truth(case, CPU)
    truth.step("training", plan.KEEP)
    assert all(one.grad is None for one in truth.network.parameters())
