"""Steps: accumulation is a large batch, and nothing that is not finite reaches the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dealias.data.remask import MaskSettings
from dealias.data.samples import Batch, Samples, collate
from dealias.errors import HealthError
from dealias.metrics.protocol import PROTOCOLS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.scan.measurement import Needs
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.dealing import Share
from dealias.training.loop import TrainingJob, train
from dealias.training.losses import LossSettings
from dealias.training.reconstruction import ReconstructionTask
from dealias.training.step import Stepper

Make = Callable[..., TrainingJob]


def doubled(batch: Batch) -> Batch:
    return replace(
        batch,
        kspace_BSCHW=batch.kspace_BSCHW.to(torch.complex128),
        target_BHW=batch.target_BHW.double(),
        foreground_BHW=batch.foreground_BHW.double(),
        range_B=batch.range_B.double(),
    )


def stepped(job: TrainingJob, groups: list[list[int]], clip: float | None = None) -> Any:
    """Weights after one step over these samples, in float64."""
    torch.manual_seed(3)
    network = VarNet(VarNetSettings(cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1))
    network = network.double()
    samples = Samples(job.train_scans, MaskSettings(), Needs(), 0)
    batches = [doubled(collate([samples[0, i] for i in group])) for group in groups]
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    task = ReconstructionTask(LossSettings(), PROTOCOLS["fastmri"])
    stepper = Stepper(network, optimiser, scaler, task, clip, torch.device("cpu"))
    names = tuple(name for batch in batches for name in batch.names)
    result = stepper(Share(tuple(batches), tuple(range(len(batches))), names))
    assert result.applied
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("groups", [[[0], [1], [2], [3]], [[0, 1, 2], [3]], [[0, 1], [2, 3]]])
def test_accumulation_is_the_large_batch(make_job: Make, groups: list[list[int]]) -> None:
    job = make_job("a")
    large = stepped(job, [[0, 1, 2, 3]])
    assert (stepped(job, groups) - large).abs().max() < 1e-12 * large.abs().max()


def test_clipping_bounds_the_step(make_job: Make) -> None:
    job = make_job("a")
    torch.manual_seed(3)
    network = VarNet(VarNetSettings(cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1))
    before = torch.cat([p.detach().double().flatten() for p in network.parameters()])
    after = stepped(job, [[0]], clip=1e-3)
    assert abs(float(torch.linalg.norm(after - before)) - 1e-3) < 1e-6


def poisoned(job: TrainingJob, value: complex) -> TrainingJob:
    """The job with one bad sample in its second scan's first slice."""
    scan = job.train_scans[1]
    source = scan.source
    stored = source.image("target", slice(None))
    kspace = np.array(source.kspace_ZCHW)  # type: ignore[attr-defined]
    kspace[0, 0, 12, 10] = value

    class Poisoned(type(source)):  # type: ignore[misc]
        def image(self, kind: str, z: slice) -> Any:
            return None if stored is None else stored[z]

    bad = replace(scan, source=Poisoned(kspace))
    return replace(job, train_scans=(job.train_scans[0], bad, *job.train_scans[2:]))


@pytest.mark.parametrize("value", [complex("nan"), complex("inf")])
def test_a_bad_sample_never_reaches_the_weights(make_job: Make, value: complex) -> None:
    said: list[str] = []
    job = replace(poisoned(make_job("run"), value), warn=said.append)
    train(job)
    assert all(torch.isfinite(p).all() for p in job.network.parameters())
    assert any("s2, slice 0" in text for text in said)
    report = json.loads((job.folder / "nan_report.json").read_text())
    assert report["slices"][0]["name"] == "s2"


def test_a_gradient_that_is_not_finite_is_no_step(make_job: Make) -> None:
    """The loss is sound, its gradient is not: weights and Adam's moments must not see it."""
    job = make_job("run", bad_step_limit=50)
    calls = [0]

    def break_some(gradient: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return gradient * float("nan") if calls[0] in (2, 5) else gradient

    said: list[str] = []
    next(job.network.parameters()).register_hook(break_some)
    train(replace(job, warn=said.append))
    assert len(said) == 2
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    state, _ = read_checkpoint(path)
    moments = [value for one in state.optimiser["state"].values() for value in one.values()]
    assert all(torch.isfinite(tensor).all() for tensor in [*state.network.values(), *moments])
    assert {float(one["step"]) for one in state.optimiser["state"].values()} == {state.step - 2.0}


def test_one_bad_batch_spoils_its_whole_step(make_job: Make) -> None:
    """Half of an accumulated gradient would be another step than the one asked for."""
    job = poisoned(make_job("run", accumulation=2, epochs=1), complex("nan"))
    train(job)
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    state, _ = read_checkpoint(path)
    assert {float(one["step"]) for one in state.optimiser["state"].values()} == {state.step - 1.0}


def test_an_exploding_loss_is_named(make_job: Make) -> None:
    job = make_job("run", epochs=1)
    job = replace(job, loss=LossSettings(kind="l1", foreground=False))
    last = job.train_scans[3]
    stated = replace(last, data_range=(last.data_range or 1.0) * 1e-6)  # not the scale it has
    said: list[str] = []
    train(replace(job, train_scans=(*job.train_scans[:3], stated), warn=said.append))
    assert any(text.startswith("s4, slice") and "times the mean" in text for text in said)
    assert not any(text.startswith(("s1", "s2", "s3")) for text in said)


@pytest.mark.parametrize("total", [float("nan"), float("-inf")])
def test_a_validation_without_a_number_is_never_the_best(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, total: float
) -> None:
    from dealias.training import reconstruction

    real = reconstruction.validate
    count = [0]

    def sometimes(*args: Any) -> Any:
        found = real(*args)
        count[0] += 1
        return found if count[0] > 1 else replace(found, scores=replace(found.scores, total=total))

    monkeypatch.setattr(reconstruction, "validate", sometimes)
    job = make_job("run")
    train(job)
    best = json.loads((job.folder / "finished.json").read_text())["best"]
    assert best["epoch"] == 1


def test_too_many_bad_steps_stop_the_run_and_keep_the_last_good(make_job: Make) -> None:
    job = poisoned(make_job("run", bad_step_limit=1), complex("nan"))
    with pytest.raises(HealthError, match=r"s2, slice 0.*1 steps in a row"):
        train(job)
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    state, _ = read_checkpoint(path)
    assert all(torch.isfinite(tensor).all() for tensor in state.network.values())


def test_no_memory_names_the_shape_and_what_helps(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    job = make_job("run")
    monkeypatch.setattr(job.network, "forward", full)
    with pytest.raises(HealthError, match=r"\(1, 1, 3, \d+, \d+\).*memory.budget=SIZE"):
        train(job)


def test_a_dead_worker_is_named_and_nothing_hangs(make_job: Make) -> None:
    import os
    import signal

    job = make_job("run", workers=1)
    parent = os.getpid()

    class Killing(type(job.train_scans[0].source)):  # type: ignore[misc]
        def kspace(self, z: slice) -> Any:
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().kspace(z)

    scans = tuple(
        replace(scan, source=Killing(scan.source.kspace_ZCHW))  # type: ignore[attr-defined]
        for scan in job.train_scans
    )
    with pytest.raises(HealthError, match="a data worker"):
        train(replace(job, train_scans=scans))
