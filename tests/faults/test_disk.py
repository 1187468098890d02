"""A full disk costs the checkpoint being written, never one that was whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dealias.training.checkpoint import read_checkpoint

Train = Callable[..., Any]
pytestmark = pytest.mark.subprocess


def test_a_full_disk_stops_the_run_with_its_checkpoints_whole(
    train: Train, assert_same: Callable[[Path], None], tmp_path: Path
) -> None:
    stopped = train(fault="step:3:SIGTERM")
    assert stopped.wait() == 143, stopped.err
    checkpoints = tmp_path / "run" / "main" / "checkpoints"
    size = (checkpoints / "000003" / "state.pt").stat().st_size
    full = train(limit=size // 2)
    assert full.wait() == 6, full.err
    assert "disk full or file too large" in full.err
    assert full.err.count("\n") < 20
    assert "Traceback" not in full.err
    assert sorted(path.name for path in checkpoints.glob("*0*")) == ["000002", "000003"]
    assert read_checkpoint(checkpoints / "000003")[0].step == 3
    assert not list(checkpoints.glob(".partial-*"))
    assert train().wait() == 0
    assert_same(tmp_path / "run")
