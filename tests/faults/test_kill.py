"""kill -9 anywhere: the resumed run ends with the very bits of the undisturbed one.

Twenty-four kills: six of them in the suite, all of them in `make test-slow`. Steps are counted from
1, six to an epoch, and each is followed by a checkpoint.
"""

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

SAVING = "checkpoint-"
NAMED = [
    # where, workers before the kill, workers after it
    ("step:1", 0, 2), ("step:3", 2, 0), ("step:4", 0, 0), ("step:5", 2, 2), ("step:6", 0, 2),
    ("step:8", 2, 0), ("step:10", 0, 2), ("step:11", 2, 0),
    ("validation:1", 0, 2), ("validation:6", 2, 0), ("validation:11", 0, 0),
    (SAVING + "opened:1", 0, 2), (SAVING + "half-written:4", 2, 0),
    (SAVING + "before-rename:5", 0, 2), (SAVING + "set-aside:1", 2, 0),
    (SAVING + "after-rename:9", 0, 0), (SAVING + "before-best:7", 0, 2),
    (SAVING + "pruning:3", 2, 0),
]  # fmt: skip
QUICK = {"step:4", "validation:6", SAVING + "opened:1", SAVING + "half-written:4",
         SAVING + "set-aside:1", SAVING + "pruning:3"}  # fmt: skip
CASES = [
    pytest.param(*case, id=case[0], marks=[] if case[0] in QUICK else [pytest.mark.slow])
    for case in NAMED
]


@pytest.mark.parametrize(("where", "before", "after"), CASES)
def test_killed_at(
    where: str, before: int, after: int, train: Train, assert_same: Same, tmp_path: Path
) -> None:
    killed = train(f"training.workers={before}", fault=f"{where}:SIGKILL")
    assert killed.wait() == -signal.SIGKILL, killed.err
    resumed = train(f"training.workers={after}")
    assert resumed.wait() == 0, resumed.err
    assert_same(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.55, 0.7, 0.85])
def test_killed_by_the_clock(
    share: float, train: Train, assert_same: Same, straight: Path, tmp_path: Path
) -> None:
    """From outside, wherever the run happens to be, workers and all."""
    killed = train("training.workers=2")
    log = tmp_path / "run" / "log.txt"
    while not log.exists():
        time.sleep(0.01)
    time.sleep(share * seconds_of(straight))
    os.killpg(killed.process.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, killed.err
    resumed = train("training.workers=0")
    assert resumed.wait() == 0, resumed.err
    assert_same(tmp_path / "run")


def seconds_of(run: Path) -> float:
    """How long a run trained and validated."""
    import json

    rows = (run / "main" / "metrics.jsonl").read_text().splitlines()
    return float(sum(json.loads(row)["seconds"] for row in rows))


def test_killed_again_and_again(train: Train, assert_same: Same, tmp_path: Path) -> None:
    """One run, killed at every place in turn: each attempt gets a little further."""
    for where in ("step:3", "checkpoint-opened:2", "validation:2", "checkpoint-after-rename:1"):
        killed = train(fault=f"{where}:SIGKILL")
        assert killed.wait() == -signal.SIGKILL, (where, killed.err)
    assert train().wait() == 0
    assert_same(tmp_path / "run")
