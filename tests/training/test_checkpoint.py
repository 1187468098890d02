"""A dead data worker does not disturb what is being written."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.training.checkpoint import Checkpoints, TrainState, read_checkpoint


@pytest.fixture
def a_child_dies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Signals SIGCHLD while a checkpoint is written; torch's handler raises, so does this one."""
    written = []

    def dies(number: int, frame: object) -> None:
        raise RuntimeError("DataLoader worker is killed")

    def save(values: dict[str, Any], file: Any) -> None:
        os.kill(os.getpid(), signal.SIGCHLD)
        plain(values, file)
        written.append(True)

    plain = torch.save
    monkeypatch.setattr(torch, "save", save)
    before = signal.signal(signal.SIGCHLD, dies)
    yield written
    signal.signal(signal.SIGCHLD, before)


def test_a_dead_worker_is_heard_of_after_the_file_is_written(
    tmp_path: Path, a_child_dies: list[bool]
) -> None:
    checkpoints = Checkpoints(tmp_path, 2, pytest.fail)
    with pytest.raises(RuntimeError, match="worker is killed"):
        checkpoints.save(TrainState(step=1), {})
    assert a_child_dies == [True]
    with pytest.raises(RuntimeError, match="worker is killed"):
        os.kill(os.getpid(), signal.SIGCHLD)  # and the handler is back in its place


def test_without_a_dead_worker_nothing_is_said(tmp_path: Path) -> None:
    folder = Checkpoints(tmp_path, 2, pytest.fail).save(TrainState(step=3), {})
    assert read_checkpoint(folder)[0].step == 3
