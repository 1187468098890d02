"""Runs of two ranks: the bits of one rank's, stopped, killed, resumed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dealias.training.checkpoint import read_checkpoint

Train = Callable[..., Any]
Same = Callable[[], None]
pytestmark = pytest.mark.subprocess


def test_a_run_of_two_ranks_has_every_bit_of_one_ranks(
    train: Train, assert_same: Same, tmp_path: Path, straight: Path
) -> None:
    """Weights, moments, losses, scores and the report's pictures; one rank speaks."""
    both = train("training.workers=1")
    assert both.wait() == [0, 0], both.err
    assert_same()
    assert both.out.count("trained: ") == 1
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("finished") == 1
    rows = [(run / "main" / "metrics.jsonl").read_text().splitlines()
            for run in (straight, tmp_path / "run")]  # fmt: skip
    assert len(rows[0]) == len(rows[1]) == 4


def test_a_killed_rank_ends_the_other_and_costs_nothing(
    train: Train, assert_same: Same, tmp_path: Path
) -> None:
    both = train("training.save_minutes=null", faults={1: "step:2:SIGKILL"})
    assert both.wait() == [5, -signal.SIGKILL], both.err
    assert len(both.errors) == 1
    assert both.errors[0].startswith("error: rank 1 of 2: found no answer")
    # the surviving rank saved the last step that both had done
    state, manifest = read_checkpoint(tmp_path / "run" / "main" / "checkpoints" / "000002")
    assert (state.step, manifest["environment"]["world size"]) == (2, 2)
    resumed = train()
    assert resumed.wait() == [0, 0], resumed.err
    assert_same()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "rank", "where"),
    [(2, 0, "step:1"), (2, 0, "validation:2"), (2, 1, "validation:1"), (2, 1, "step:5"),
     (2, 0, "checkpoint-half-written:2"), (3, 2, "step:1"), (3, 0, "step:1")],
)  # fmt: skip
def test_killed_anywhere(
    size: int, rank: int, where: str, train: Train, assert_same: Same, tmp_path: Path
) -> None:
    some = train(size=size, faults={rank: f"{where}:SIGKILL"})
    codes = some.wait()
    assert codes.pop(rank) == -signal.SIGKILL
    assert set(codes) == {5}, some.err
    assert len(some.errors) == 1
    assert some.errors[0].startswith(f"error: rank {rank} of {size}: found no answer")
    if size == 2:
        assert train().wait() == [0, 0]
        assert_same()


@pytest.mark.parametrize(
    ("fault", "code"),
    [("validation:2:SIGUSR1", 143), pytest.param("step:2:SIGTERM", 143, marks=pytest.mark.slow),
     pytest.param("step:4:SIGINT", 130, marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_signal_to_one_rank_stops_both_at_the_same_step(
    fault: str, code: int, train: Train, assert_same: Same, tmp_path: Path
) -> None:
    both = train("training.save_minutes=null", faults={1: fault})
    assert both.wait() == [code, code], both.err
    assert both.out.count("continue with: dealias train --resume") == 1
    assert both.errors == []
    resumed = train()
    assert resumed.wait() == [0, 0], resumed.err
    assert_same()


def test_another_number_of_ranks_keeps_the_step_or_is_refused(
    train: Train, assert_same: Same
) -> None:
    stopped = train("training.save_minutes=null", faults={0: "step:2:SIGTERM"})
    assert stopped.wait() == [143, 143], stopped.err
    refused = train(size=1)
    assert refused.wait() == [2], refused.err
    assert "training.accumulation=2 keeps the step" in refused.errors[0]
    resumed = train("training.accumulation=2", size=1)
    assert resumed.wait() == [0], resumed.err
    assert "WARN world size is 1 and was 2: the last bits may differ" in resumed.err
    assert_same()


def test_numbers_that_are_not_finite_stop_all_with_one_message(
    train: Train, data: Path, tmp_path: Path
) -> None:
    spoiled = tmp_path / "data"
    shutil.copytree(data, spoiled)
    for path in (spoiled / "train" / "image").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["image_label"][2, 10, 10] = np.nan
    both = train("training.bad_step_limit=1", given=spoiled)
    assert both.wait() == [5, 5], both.err
    assert len(both.errors) == 1
    assert "slice 2: found 1 steps in a row without a finite loss" in both.errors[0]
    assert both.err.count("the step was not taken") == 1
    report = json.loads((tmp_path / "run" / "main" / "nan_report.json").read_text())
    assert len(report["slices"]) == 2  # of both ranks
