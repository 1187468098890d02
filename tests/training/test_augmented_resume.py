"""An augmented run stopped anywhere ends with the same bits: strengths are numbers, not state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dealias.data.augment import AugmentSettings, TransformSettings
from dealias.data.samples import Samples
from dealias.data.strength import Strengths, StrengthSettings
from dealias.errors import SettingsError
from dealias.training.checkpoint import Checkpoints, TrainState, read_checkpoint
from dealias.training.loop import Stopped, TrainingJob, train
from shared import same

Make = Callable[..., TrainingJob]
Stop = Callable[[TrainingJob, int], TrainingJob]
TRANSFORMS = TransformSettings(flip_h=0.5, translation=0.5, rotation=1, scaling=1)
EPOCHS = 3
RISE = StrengthSettings(kind="exponential", delay=0, until=2, decay=1)
# by whatever the tiny run's validation does: far from both ends of the scale
SLOPE = StrengthSettings(kind="slope", window=2, steep=-1, flat=1, decay=1)


def augmented(job: TrainingJob, strength: StrengthSettings) -> TrainingJob:
    augment = AugmentSettings(transforms=TRANSFORMS, strength=strength)
    return replace(job, augment=augment, train_scans=job.train_scans[:2])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, Strengths]]:
    """The keys of all samples that are read."""
    keys: list[tuple[int, int, Strengths]] = []
    plain = Samples.__getitem__

    def noted(self: Samples, key: Any) -> Any:
        keys.append(key)
        return plain(self, key)

    monkeypatch.setattr(Samples, "__getitem__", noted)
    return keys


def final(job: TrainingJob) -> TrainState:
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    return read_checkpoint(path)[0]


def bent(share: float) -> float:
    return (1 - math.exp(-share)) / (1 - math.exp(-1))


def expected(strength: StrengthSettings, job: TrainingJob) -> list[float]:
    """Strengths of all epochs, the slope's by the scores that the run wrote down."""
    if strength is RISE:
        return [0, bent(0.5), 1]
    rows = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    first, second, _ = (1 - row["total"] for row in rows if row["kind"] == "val")
    return [0, 0, bent((second - first + 1) / 2)]


@pytest.mark.parametrize("strength", [RISE, SLOPE], ids=lambda one: one.kind)
def test_a_stopped_run_ends_with_the_same_bits(
    strength: StrengthSettings, make_job: Make, stop_after: Stop, seen: list[Any]
) -> None:
    """An epoch of four steps and two validated slices asks six times whether to stop."""
    straight = augmented(make_job("straight", epochs=EPOCHS), strength)
    train(straight)
    told = {epoch: strengths.augment for epoch, _, strengths in seen}
    assert list(told.values()) == pytest.approx(expected(strength, straight), abs=1e-12)
    seen.clear()
    for steps in (3, 11):
        with pytest.raises(Stopped):
            train(stop_after(augmented(make_job("run", epochs=EPOCHS), strength), steps))
    other = augmented(make_job("run", epochs=EPOCHS), strength)
    assert final(other).step == 10
    train(other)
    assert {epoch: strengths.augment for epoch, _, strengths in seen} == told
    a, b = vars(final(straight)), vars(final(other))
    for key in a:
        assert same(a[key], b[key]), f"{key} differs"


def test_augmentation_changes_what_is_learned(make_job: Make) -> None:
    plain, other = (augmented(make_job(name, epochs=1), StrengthSettings()) for name in "ab")
    plain = replace(plain, augment=AugmentSettings())
    for job in (plain, other):
        train(job)
    assert not same(final(plain).network, final(other).network)


def test_a_slope_without_validation_is_refused(make_job: Make) -> None:
    job = replace(augmented(make_job("run"), SLOPE), val_scans=())
    with pytest.raises(SettingsError, match=r"augment.strength.kind=slope follows"):
        train(job)
