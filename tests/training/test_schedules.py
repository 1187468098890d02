"""Schedules: torch's own, epoch by epoch, the teams' numbers, and the loop that follows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler as torchs

from dealias.errors import SettingsError
from dealias.training import reconstruction
from dealias.training.job import TrainingJob
from dealias.training.loop import train
from dealias.training.schedules import Moment, ScheduleSettings, lr_factor

Make = Callable[..., TrainingJob]
EPOCHS = 60


def optimiser() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def rates(
    make: Callable[[Any], Any], steps: int = EPOCHS, tell: Callable[[Any, int], None] | None = None
) -> list[float]:
    """Rates of torch's scheduler, at lr 1, before each of its steps."""
    sgd = optimiser()
    scheduler = make(sgd)
    found = []
    for step in range(steps):
        found.append(sgd.param_groups[0]["lr"])
        sgd.step()
        (tell or (lambda scheduler, step: scheduler.step()))(scheduler, step)
    return found


def one_after_another(o: Any, milestones: list[int], *schedulers: Any) -> Any:
    return torchs.SequentialLR(o, list(schedulers), milestones=milestones)


def plain(o: Any) -> Any:
    return torchs.ConstantLR(o, factor=1.0)


def warm(o: Any) -> Any:
    return torchs.LinearLR(o, 0.1, 1.0, total_iters=3)


S = ScheduleSettings
CASES: dict[str, tuple[ScheduleSettings, Callable[[Any], Any]]] = {
    "step": (S(name="step", size=5, gamma=0.5), lambda o: torchs.StepLR(o, 5, 0.5)),
    "step from an epoch": (
        S(name="step", start=5, size=11, gamma=0.3),
        lambda o: one_after_another(o, [5], plain(o), torchs.StepLR(o, 11, 0.3)),
    ),
    "multistep": (
        S(name="multistep", milestones=(10, 15, 20, 25), gamma=0.5),
        lambda o: torchs.MultiStepLR(o, [10, 15, 20, 25], 0.5),
    ),
    "exponential": (S(name="exponential", gamma=0.96), lambda o: torchs.ExponentialLR(o, 0.96)),
    "cosine": (
        S(name="cosine", floor=0.01), lambda o: torchs.CosineAnnealingLR(o, EPOCHS, 0.01),
    ),
    "cosine that the run does not end": (
        S(name="cosine", horizon=80), lambda o: torchs.CosineAnnealingLR(o, 80),
    ),
    "restarts": (
        S(name="cosine-restarts", period=7, multiplier=2, floor=0.01),
        lambda o: torchs.CosineAnnealingWarmRestarts(o, 7, 2, 0.01),
    ),
    "cyclic": (
        S(name="cyclic", period=14, floor=0.1),
        lambda o: torchs.CyclicLR(o, 0.1, 1.0, 7, mode="triangular2", cycle_momentum=False),
    ),
    "the code's experts": (
        S(name="linear-constant-step", start=15, size=5),
        lambda o: one_after_another(o, [3, 15], warm(o), plain(o), torchs.StepLR(o, 5, 0.3)),
    ),
    "the write-up's experts": (
        S(name="linear-constant-step", start=9, size=5),
        lambda o: one_after_another(o, [3, 9], warm(o), plain(o), torchs.StepLR(o, 5, 0.3)),
    ),
    "warm-up before a cosine": (
        S(name="linear-cosine", floor=0.01),
        lambda o: one_after_another(
            o, [3], warm(o), torchs.CosineAnnealingLR(o, EPOCHS - 3, 0.01)),
    ),
}  # fmt: skip


# torch's SequentialLR calls what torch itself calls deprecated
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_each_epoch_has_torchs_rate(case: str) -> None:
    settings, make = CASES[case]
    ours = [lr_factor(settings, Moment(epoch, 0.0, EPOCHS)) for epoch in range(EPOCHS)]
    np.testing.assert_allclose(ours, rates(make), rtol=1e-12, atol=1e-15)


def quarters(settings: ScheduleSettings, epochs: int) -> list[float]:
    moments = (divmod(quarter, 4) for quarter in range(4 * epochs + 1))
    return [lr_factor(settings, Moment(epoch, part / 4, epochs)) for epoch, part in moments]


def test_one_cycle_is_torchs_at_every_step() -> None:
    """torch puts N points on the curve, from its first to its last; so do a run's quarter epochs.

    Its rise ends at step `pct_start * N - 1` of 0..N-1: a share of the points, not of the way.
    """
    points = 4 * EPOCHS + 1
    share = (0.3 * (points - 1) + 1) / points
    wanted = rates(
        lambda o: torchs.OneCycleLR(
            o, max_lr=10.0, total_steps=points, pct_start=share, cycle_momentum=False),
        points, lambda scheduler, step: scheduler.step() if step + 1 < points else None,
    )  # fmt: skip
    ours = quarters(S(name="onecycle", peak=10.0), EPOCHS)
    np.testing.assert_allclose(ours, wanted, rtol=1e-11)


def test_restarts_are_torchs_within_epochs() -> None:
    wanted = rates(
        lambda o: torchs.CosineAnnealingWarmRestarts(o, 5, 2),
        4 * EPOCHS + 1, lambda scheduler, step: scheduler.step((step + 1) / 4),
    )  # fmt: skip
    ours = quarters(S(name="cosine-restarts", period=5, multiplier=2), EPOCHS)
    np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("patience", [0, 2, 5])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.05])
def test_plateau_is_torchs(patience: int, threshold: float) -> None:
    rng = np.random.default_rng(patience)
    fall = 0.05 * np.exp(-np.arange(EPOCHS) / 8)
    losses = [float(x) for x in 0.03 + np.round(fall + 2e-3 * rng.random(EPOCHS), 3)]
    losses[7] = float("nan")
    wanted = rates(
        lambda o: torchs.ReduceLROnPlateau(
            o, factor=0.5, patience=patience, threshold=threshold, min_lr=0.01, eps=0),
        tell=lambda scheduler, epoch: scheduler.step(losses[epoch]),
    )  # fmt: skip
    settings = S(name="plateau", gamma=0.5, patience=patience, threshold=threshold, floor=0.01)
    moments = (Moment(epoch, 0.5, EPOCHS, losses[:epoch]) for epoch in range(EPOCHS))
    ours = [lr_factor(settings, moment) for moment in moments]
    assert len(set(wanted)) > 2
    np.testing.assert_allclose(ours, wanted, rtol=1e-12)


def test_the_experts_of_smartify_have_their_rates() -> None:
    """As their code ran; a stage counts its own epochs, theirs begins at 30."""
    settings = S(name="linear-constant-step", warm_epochs=3, warm_from=0.1, start=15, size=5)
    ours = [2e-4 * lr_factor(settings, Moment(epoch, 0.0, 30)) for epoch in range(30)]
    theirs = [2e-5, 8e-5, 1.4e-4, *[2e-4] * 17, *[6e-5] * 5, *[1.8e-5] * 5]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_base_of_smartify_drops_at_16_27_and_38() -> None:
    settings = S(name="step", start=5, size=11, gamma=0.3)
    ours = [lr_factor(settings, Moment(epoch)) for epoch in range(45)]
    drops = [epoch for epoch in range(1, 45) if ours[epoch] != ours[epoch - 1]]
    assert drops == [16, 27, 38]
    assert ours[-1] == pytest.approx(0.027, rel=1e-12)


@pytest.mark.parametrize("milestones", [(15, 10), (0, 5), (5, 5)])
def test_milestones_out_of_order_are_refused(milestones: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="epochs from 1, in order"):
        S(name="multistep", milestones=milestones)


def test_milestones_are_not_forgotten() -> None:
    with pytest.raises(ValidationError, match="needs milestones"):
        S(name="multistep")


def told(monkeypatch: pytest.MonkeyPatch, totals: list[float]) -> None:
    """Let validations find these totals, one after the other."""
    real, left = reconstruction.validate, iter(totals)

    def validate(*args: Any) -> Any:
        found = real(*args)
        return replace(found, scores=replace(found.scores, total=next(left)))

    monkeypatch.setattr(reconstruction, "validate", validate)


def test_a_cosine_falls_within_epochs(make_job: Make) -> None:
    job = make_job("run", S(name="cosine"))
    train(replace(job, train_scans=job.train_scans[:1]))
    # of two steps in each of two epochs, the last begins after half of its epoch
    wanted = [job.optimiser.lr * 0.5 * (1 + np.cos(np.pi * share / 4)) for share in (1, 3)]
    np.testing.assert_allclose(trained_rates(job), wanted, rtol=1e-12)


def trained_rates(job: TrainingJob) -> list[float]:
    """Rate of the last step of each epoch."""
    rows = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    return [row["lr"] for row in rows if row["kind"] == "train"]


def test_a_run_is_slowed_when_its_validation_stalls(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, [0.5, 0.6, 0.6, 0.7])
    schedule = S(name="plateau", gamma=0.5, patience=0)
    job = make_job("run", schedule, epochs=4)
    train(replace(job, train_scans=job.train_scans[:1]))
    lr = job.optimiser.lr
    assert trained_rates(job) == [lr, lr, lr, lr / 2]


def test_what_follows_the_validation_needs_one(make_job: Make) -> None:
    job = replace(make_job("run", S(name="plateau")), val_scans=())
    with pytest.raises(SettingsError, match="schedule.name=plateau follows"):
        train(job)
