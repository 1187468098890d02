"""Stopping early: what must be reached, and a run that has not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from dealias.errors import SettingsError
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.early import missed
from dealias.training.job import TrainingJob
from dealias.training.loop import train
from dealias.training.settings import TrainingSettings
from shared import same

Make = Callable[..., TrainingJob]
GEEKSEEK = ((10, 0.958), (20, 0.962), (25, 0.9645))


def rising(start: float, slope: float) -> dict[int, float]:
    return {epoch: start + slope * epoch for epoch in range(30)}


@pytest.mark.parametrize(
    ("totals", "ends"),
    [
        (rising(0.94, 0.0021), None),
        (rising(0.94, 0.0019), 10),  # .9571 at the tenth
        ({**dict.fromkeys(range(30), 0.95), 3: 0.958}, 20),  # once is enough
        (rising(0.958, 0.0), 20),
        ({epoch: min(0.9644, 0.958 + epoch * 0.001) for epoch in range(30)}, 25),
        ({0: math.nan}, 10),
        ({}, None),
    ],
)
def test_the_stages_of_geekseek(totals: dict[int, float], ends: int | None) -> None:
    ended = next((e for e in range(31) if missed(GEEKSEEK, e, totals) is not None), None)
    assert ended == ends


def test_the_reason_says_both_numbers() -> None:
    said = missed(GEEKSEEK, 10, {4: 0.95, 9: 0.9431})
    assert said == "the best validation of 10 epochs is 0.9500, not 0.958"


@pytest.mark.parametrize("stages", [[[10, 0.9], [10, 0.95]], [[20, 0.9], [10, 0.95]], [[0, 0.9]]])
def test_stages_out_of_order_are_refused(stages: Any) -> None:
    with pytest.raises(ValidationError, match="in order"):
        TrainingSettings(early_stop=stages)


def test_what_must_be_reached_is_validated() -> None:
    settings = TrainingSettings(epochs=12, validate_every=5, early_stop=[[3, 0.5], [9, 0.6]])
    assert [epoch for epoch in range(12) if settings.validates(epoch)] == [2, 4, 8, 9, 11]


def final(job: TrainingJob) -> dict[str, Any]:
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    return vars(read_checkpoint(path)[0])


def test_a_run_ends_says_why_and_can_go_on(make_job: Make) -> None:
    def job(name: str, **more: Any) -> TrainingJob:
        made = make_job(name, epochs=3, **more)
        return replace(made, train_scans=made.train_scans[:1], warn=said.append)

    said: list[str] = []
    stopped = job("run", early_stop=[[1, 0.0], [2, 1.1]])
    train(stopped)
    facts = json.loads((stopped.folder / "finished.json").read_text())
    assert facts["epochs"] == 2
    assert facts["stopped"].startswith("the best validation of 2 epochs is 0.")
    assert len(said) == 1
    assert said[0].startswith(facts["stopped"])
    # resumed as it is, it ends again, at once
    train(job("run", early_stop=[[1, 0.0], [2, 1.1]]))
    assert json.loads((stopped.folder / "finished.json").read_text()) == facts
    # and without the stage it is the run that never had one
    train(job("run"))
    straight = job("straight")
    train(straight)
    assert same(final(stopped), final(straight))
    assert json.loads((stopped.folder / "finished.json").read_text())["stopped"] is None


def test_stages_need_a_validation(make_job: Make) -> None:
    job = replace(make_job("run", early_stop=[[1, 0.5]]), val_scans=())
    with pytest.raises(SettingsError, match="training.early_stop follows"):
        train(job)


def test_stages_before_the_first_known_total_are_not_judged() -> None:
    assert missed(GEEKSEEK, 25, {22: 0.97}) is None
