"""TensorBoard's events; tensorboard is no part of the installation, so a stub takes its place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dealias.training.job import TrainingJob
from dealias.training.loop import Stopped, train

Make = Callable[..., TrainingJob]


class Writer:
    """Keeps what torch's SummaryWriter would write."""

    made: list[Writer]

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.written: list[tuple[str, float, int]] = []
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        assert type(value) is float
        self.written.append((name, value, step))

    def flush(self) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    """Those that were opened."""
    Writer.made = []
    stub = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    return Writer.made


def small(job: TrainingJob, **more: Any) -> TrainingJob:
    return replace(job, train_scans=job.train_scans[:2], **more)


def test_events_have_the_numbers_of_the_rows(make_job: Make, writers: list[Writer]) -> None:
    job = small(make_job("run", tensorboard=True))
    train(job)
    (writer,) = writers
    assert writer.closed
    assert writer.folder == str(job.folder / "tensorboard")
    rows = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    found = {(name, step): value for name, value, step in writer.written}
    assert len(found) == len(writer.written)
    for row in rows:
        assert found[f"{row['kind']}/lr", row["step"]] == row["lr"]
        if row["kind"] == "val":
            assert found["val/total", row["step"]] == row["total"]
            assert found["val/cells/knee-x4", row["step"]] == row["cells"]["knee-x4"]
        else:
            assert found["train/loss", row["step"]] == row["loss"]
    assert not any(name.endswith(("epoch", "step", "kind")) for name, _ in found)


# four steps an epoch, then two slices of validation
@pytest.mark.parametrize(("polls", "purge"), [(2, 2), (5, 4), (7, 5)])
def test_a_resumed_run_hides_what_it_does_again(
    make_job: Make, writers: list[Writer], polls: int, purge: int
) -> None:
    job, count = small(make_job("run", tensorboard=True)), iter(range(1, 100))
    with pytest.raises(Stopped):
        train(replace(job, stop=lambda: "asked" if next(count) >= polls else None))
    # once to the end, and once more when it has finished, which hides nothing
    for _ in range(2):
        train(small(make_job("run", tensorboard=True)))
    first, second, third = writers
    assert first.closed
    assert second.purge_step == purge
    assert third.purge_step == 9
    kept = [one for one in first.written if one[2] < purge] + second.written
    places = [(name, step) for name, _, step in kept]
    assert len(set(places)) == len(places)
    assert {step for name, step in places if name == "val/total"} == {4, 8}
    assert {step for name, step in places if name == "train/loss"} == {4, 8}


def test_without_tensorboard_one_line_says_so(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    job = small(make_job("run", tensorboard=True, epochs=1), warn=said.append)
    train(job)
    (line,) = said
    assert "not installed" in line
    assert "\n" not in line
    assert (job.folder / "finished.json").exists()
