"""Averages of the weights: their closed forms, what they are used for, and their short name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dealias.training.averaging import Average, AverageSettings
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.job import Progress, TrainingJob
from dealias.training.loop import train
from dealias.training.reconstruction import validate
from dealias.training.settings import TrainingSettings

Make = Callable[..., TrainingJob]
KINDS = {
    "ema": {"kind": "ema", "decay": 0.8},
    "swa": {"kind": "swa", "start": 1},
    "last": {"kind": "last", "count": 2},
}


def last(job: TrainingJob) -> Any:
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    return read_checkpoint(path)[0]


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def walked(make_job: Make, kind: str, steps: int = 5) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The average over a random walk in float64, each step of it an epoch too, and the walk."""
    network, seen = make_job("a").network.double(), []
    average = Average(AverageSettings(**KINDS[kind]), network)
    generator = torch.Generator().manual_seed(1)
    for epoch in range(steps):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn(parameter.shape, generator=generator).double()
        average.after_step(network)
        average.after_epoch(network, epoch)
        seen.append(weights(network))
    assert average.network is not None
    return weights(average.network), seen


def test_each_step_counts_as_its_age_says(make_job: Make) -> None:
    found, seen = walked(make_job, "ema")
    wanted = 0.8**4 * seen[0] + sum(0.2 * 0.8 ** (4 - k) * seen[k] for k in range(1, 5))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("kind", "first"), [("swa", 1), ("last", 3)])
def test_epochs_count_alike(make_job: Make, kind: str, first: int) -> None:
    found, seen = walked(make_job, kind)
    torch.testing.assert_close(found, torch.stack(seen[first:]).mean(0), rtol=1e-12, atol=1e-14)


def test_there_is_none_before_its_first_epoch(make_job: Make) -> None:
    network = make_job("a").network
    average = Average(AverageSettings(kind="swa", start=2), network)
    average.after_epoch(network, 1)
    assert average.network is None
    assert average.weights() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_training_itself_is_not_changed(make_job: Make, kind: str) -> None:
    plain, averaged = make_job("plain"), make_job("averaged", average=KINDS[kind])
    for job in (plain, averaged):
        train(replace(job, train_scans=job.train_scans[:1]))
    a, b = last(plain), last(averaged)
    assert a.average == {}
    for name in a.network:
        assert torch.equal(a.network[name], b.network[name])


@pytest.mark.parametrize(("kind", "first"), [("swa", 1), ("last", 1)])
def test_a_run_averages_the_ends_of_its_epochs(make_job: Make, kind: str, first: int) -> None:
    ends: list[torch.Tensor] = []

    def note(progress: Progress) -> None:
        if progress.doing == "validating":
            ends.append(weights(job.network))

    job = make_job("run", average=KINDS[kind], epochs=3)
    job = replace(job, progress=note, train_scans=job.train_scans[:1])
    train(job)
    names = [name for name, _ in job.network.named_parameters()]
    state = last(job)
    found = torch.cat([state.average[name].flatten() for name in names])
    wanted = torch.stack(ends[first:]).double().mean(0)
    assert (ends[2] - ends[1]).abs().max() > 1e-3
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_what_is_validated_and_kept(make_job: Make, kind: str) -> None:
    job = make_job("a", average=KINDS[kind])
    job = replace(job, train_scans=job.train_scans[:1])
    if kind == "swa":
        job = replace(job, training=job.training.model_copy(
            update={"average": AverageSettings(kind="swa")}))  # fmt: skip
    train(job)
    state = last(job)
    assert state.kept is state.average
    fresh = replace(job, network=make_job("b").network)
    totals = {}
    for name, tensors in (("average", state.average), ("weights", state.network)):
        fresh.network.load_state_dict(tensors)
        found = validate(fresh.network, job.val_scans, job.protocol, job.masks, job.training.seed,
                         job.device)  # fmt: skip
        totals[name] = found.scores.total
    assert state.totals[1] == totals["average"] != totals["weights"]


def test_the_last_epochs_stand_in_a_processors_memory() -> None:
    kept = AverageSettings(kind="last", count=4)
    assert (kept.copies("cpu"), kept.copies("cuda")) == (5, 1)
    assert AverageSettings().copies("cpu") == 1


def test_ema_is_a_short_name() -> None:
    average = TrainingSettings(ema=0.9).average
    assert average == AverageSettings(kind="ema", decay=0.9)
    assert TrainingSettings(ema=0.9, average={"decay": 0.5}).average == average
    assert TrainingSettings(ema=None) == TrainingSettings()
    with pytest.raises(ValidationError, match="beside an average of kind swa"):
        TrainingSettings(ema=0.9, average={"kind": "swa"})
