"""Signals to the whole process group save the run and say how to go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Train = Callable[..., Any]
Same = Callable[[Path], None]
pytestmark = pytest.mark.subprocess

CASES = {
    "SIGTERM while training": ("step:4:SIGTERM", 143),
    "SIGTERM while validating": ("validation:3:SIGTERM", 143),
    "SIGTERM while saving": ("checkpoint-half-written:1:SIGTERM", 143),
    "SIGUSR1, as Slurm warns": ("step:2:SIGUSR1", 143),
    "SIGINT": ("step:3:SIGINT", 130),
}


@pytest.mark.parametrize("case", CASES)
def test_a_signal_saves_the_run(case: str, train: Train, assert_same: Same, tmp_path: Path) -> None:
    fault, code = CASES[case]
    stopped = train("training.workers=2", "training.save_minutes=null", fault=fault)
    assert stopped.wait() == code, stopped.err
    run = tmp_path / "run"
    assert f"continue with: dealias train --resume {run}" in stopped.out
    assert (run / "main" / "checkpoints" / "latest").exists()
    assert not (run / "lock.json").exists()
    resumed = train("training.workers=0")
    assert resumed.wait() == 0, resumed.err
    assert_same(run)


def test_a_second_ctrl_c_ends_at_once_and_loses_nothing(
    train: Train, assert_same: Same, tmp_path: Path
) -> None:
    fault = "step:4:SIGINT,checkpoint-half-written:4:SIGINT"
    stopped = train(fault=fault)
    assert stopped.wait() == 130, stopped.err
    checkpoints = tmp_path / "run" / "main" / "checkpoints"
    assert (checkpoints / "latest").read_text() == "000003\n"  # the fourth was cut short
    assert train().wait() == 0
    assert_same(tmp_path / "run")


def test_a_dead_worker_is_said_and_the_run_saved(
    train: Train, assert_same: Same, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    running = train("training.workers=2", "training.epochs=1000")
    while not (run / "main" / "checkpoints" / "latest").exists():
        time.sleep(0.01)
    os.kill(a_child(running.process.pid), signal.SIGKILL)
    assert running.wait() == 5, running.err
    said = [line for line in running.err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, running.err
    assert said[0].startswith("error: a data worker: found it died")
    resumed = train("training.epochs=2", "training.workers=0")
    assert resumed.wait() == 0, resumed.err
    assert (run / "main" / "finished.json").exists()


def a_child(pid: int) -> int:
    """Some worker of a process: its newest child."""
    for _ in range(1000):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[-1])
        time.sleep(0.005)
    raise AssertionError("no worker was started")
