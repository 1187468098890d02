"""Accumulation by epoch: its steps, its counts, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from dealias.errors import SettingsError
from dealias.runs.schedule import Schedule
from dealias.runs.size import Size
from dealias.training.accumulation import batches_at, steps_of
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.job import Progress, TrainingJob
from dealias.training.loop import train
from dealias.training.same import refuse_another_step
from dealias.training.settings import TrainingSettings
from shared import same

Make = Callable[..., TrainingJob]
GEEKSEEK = ((0, 2), (5, 10), (45, 16))


def final(job: TrainingJob) -> dict[str, Any]:
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    return vars(read_checkpoint(path)[0])


def test_a_number_holds_until_the_next_pair() -> None:
    found = [batches_at(GEEKSEEK, epoch) for epoch in range(50)]
    assert found == [2] * 5 + [10] * 40 + [16] * 5
    assert batches_at(3, 49) == 3


@pytest.mark.parametrize("value", [0, -1, [], [[1, 2]], [[0, 2], [0, 3]], [[0, 2], [5, 0]], "two"])
def test_what_makes_no_step_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"such as \[\[0, 2\], \[5, 10\]\]") as refused:
        TrainingSettings(accumulation=value)
    (error,) = refused.value.errors()
    assert error["loc"] == ("accumulation",)


def test_settings_come_back_from_json() -> None:
    settings = TrainingSettings(accumulation=GEEKSEEK)
    assert TrainingSettings(**settings.model_dump(mode="json")) == settings


def test_a_change_is_what_a_person_would_do_by_hand(make_job: Make) -> None:
    """Epoch 0 with two batches a step, epoch 1 with three: bit for bit, and counted as run."""
    seen: list[Progress] = []
    planned = make_job("planned", accumulation=[[0, 2], [1, 3]])
    train(replace(planned, progress=seen.append))
    train(make_job("by hand", accumulation=2, epochs=1))
    by_hand = make_job("by hand", accumulation=3)
    train(by_hand)
    assert same(final(planned), final(by_hand))
    # eight slices: four steps, then two of three and one of two
    assert final(planned)["step"] == 4 + 3
    assert {one.steps for one in seen} == {7}


def test_the_plan_counts_each_epochs_steps() -> None:
    size = Size(6, (64, 48), (48, 48), slices=100, val_slices=10)
    training = TrainingSettings(epochs=3, accumulation=[[0, 2], [1, 8]])
    schedule = Schedule.of(training, size, 10.0, 1.0)
    # 50 steps of 10 s; then 13 steps of 40 s, twice
    assert schedule.total == pytest.approx(500 + 2 * 520 + 3 * 10, rel=1e-12)
    assert schedule.steps == 26  # 76 / 3
    assert steps_of(training.accumulation, 100, 1, 3) == 76
    assert steps_of(training.accumulation, 100, 2, 3) == 25 + 2 * 7


def manifest(accumulation: Any, ranks: int) -> dict[str, Any]:
    return {
        "settings": {"training": {"accumulation": accumulation}},
        "environment": {"world size": ranks},
    }


def test_other_ranks_are_told_what_keeps_the_step() -> None:
    training = TrainingSettings(accumulation=[[0, 2], [5, 10]])
    then = manifest([[0, 2], [5, 10]], 2)
    refuse_another_step(training, 2, then)
    with pytest.raises(SettingsError, match=r"training.accumulation=\[\[0,4\],\[5,20\]\] keeps"):
        refuse_another_step(training, 1, then)
    with pytest.raises(SettingsError, match=r"start 2 ranks"):
        refuse_another_step(training, 3, then)
    # asked for knowingly
    refuse_another_step(TrainingSettings(accumulation=[[0, 4], [5, 20]]), 1, then)
    with pytest.raises(SettingsError, match=r"training.accumulation=3 keeps"):
        refuse_another_step(TrainingSettings(accumulation=6), 4, manifest(6, 2))
