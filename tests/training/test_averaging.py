"""The moving average of the weights: its closed form, and what it is used for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from dealias.training.averaging import Average
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.loop import TrainingJob, train
from dealias.training.task import validate

Make = Callable[..., TrainingJob]


def last(job: TrainingJob) -> Any:
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    return read_checkpoint(path)[0]


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_each_step_counts_as_its_age_says(make_job: Make) -> None:
    network, seen = make_job("a").network.double(), []
    average = Average(network, 0.8)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn(parameter.shape, generator=generator).double()
        average.update(network)
        seen.append(weights(network))
    wanted = 0.8**4 * seen[0] + sum(0.2 * 0.8 ** (4 - k) * seen[k] for k in range(1, 5))
    torch.testing.assert_close(weights(average.network), wanted, rtol=1e-12, atol=1e-14)


def test_training_itself_is_not_changed(make_job: Make) -> None:
    plain, averaged = make_job("plain"), make_job("averaged", ema=0.9)
    for job in (plain, averaged):
        train(job)
    a, b = last(plain), last(averaged)
    assert a.average == {}
    for name in a.network:
        assert torch.equal(a.network[name], b.network[name])


def test_the_average_is_what_is_validated_and_kept(make_job: Make) -> None:
    job = make_job("a", ema=0.9, epochs=1)
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
    assert state.best["total"] == totals["average"] != totals["weights"]
