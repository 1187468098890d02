"""A long training uses no more memory at its end than at its beginning."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import dealias
from dealias.engine.policies import MemoryPolicy
from dealias.engine.usage import peak_memory
from dealias.scan.scan import Scan
from dealias.training.loop import Progress, Stopped, TrainingJob, train

Make = Callable[..., TrainingJob]
STEPS, WINDOW = 1000, 12


@dataclass
class Watch:
    """Counts live tensors every 200 steps, and the allocator's peak in an early and a late window.

    Attributes:
        peak: Measures the allocator.
    """

    peak: Any
    counts: dict[int, int] = field(default_factory=dict)
    peaks: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        if progress.doing != "training":
            return
        if progress.step % 200 == 0:
            kinds = [type(one) for one in gc.get_objects()]
            self.counts[progress.step] = sum(issubclass(kind, torch.Tensor) for kind in kinds)
        if progress.step in (200, STEPS - 100):
            self._open = self.peak()
            self._open.__enter__()
        if progress.step in (200 + WINDOW, STEPS - 100 + WINDOW):
            self._open.__exit__(None, None, None)
            self.peaks.append(self._open.bytes)
            self.left.append(self._open.left)


def mixed(make_scan: Callable[..., Scan]) -> tuple[Scan, ...]:
    """100 slices of three shapes."""
    shapes = (((16, 12), 40), ((12, 16), 40), ((10, 12), 20))
    return tuple(make_scan(i, hw=hw, slices=slices) for i, (hw, slices) in enumerate(shapes))


def watched(job: TrainingJob, scans: tuple[Scan, ...], peak: Any) -> Watch:
    watch = Watch(peak)
    training = job.training.model_copy(update={"epochs": STEPS // 100, "validate_every": 10})
    train(replace(job, training=training, train_scans=scans, val_scans=(), progress=watch))
    return watch


def test_memory_stays_flat_over_a_thousand_steps(
    make_job: Make, make_scan: Callable[..., Scan], allocator_peak: Any
) -> None:
    watch = watched(make_job("run"), mixed(make_scan), allocator_peak)
    assert len(watch.counts) == 5
    assert len(set(watch.counts.values())) == 1, watch.counts
    assert watch.peaks[1] < 1.05 * watch.peaks[0], watch.peaks
    # a batch or two of the next shape, and nothing that grows with the steps
    assert all(left < 0.1 * watch.peaks[0] for left in watch.left), watch


def rows(job: TrainingJob) -> list[dict[str, Any]]:
    lines = (job.folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_largest_shape_is_the_first(make_job: Make, make_scan: Callable[..., Scan]) -> None:
    seen: list[tuple[int, ...]] = []
    for seed in range(6):
        job = make_job(f"seed-{seed}", seed=seed, epochs=1)
        scans = (*mixed(make_scan), make_scan(7, hw=(18, 16), slices=1))
        forward = job.network.forward

        def noting(measurement: Any, forward: Any = forward) -> Any:
            seen.append(tuple(measurement.kspace_BSCHW.shape[-2:]))
            return forward(measurement)

        job.network.forward = noting  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            train(replace(job, train_scans=scans, stop=lambda: "after one step"))
    assert seen == [(18, 16)] * 6


def test_each_epoch_says_what_it_took(make_job: Make) -> None:
    job = make_job("run")
    train(job)
    taken = [row["memory"]["resident"] for row in rows(job) if row["kind"] == "train"]
    assert len(taken) == 2
    assert 2**26 < taken[0] <= taken[1]


def test_a_gpu_says_what_is_allocated_and_what_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name, value in (("max_memory_allocated", 5), ("max_memory_reserved", 8),
                        ("reset_peak_memory_stats", None)):  # fmt: skip
        monkeypatch.setattr(
            torch.cuda, name, lambda device, name=name, value=value: calls.append(name) or value
        )
    assert peak_memory(torch.device("cuda")) == {"allocated": 5, "reserved": 8}
    assert calls[-1] == "reset_peak_memory_stats"


def test_nothing_empties_the_cache() -> None:
    """It would make every step ask the driver for memory that it had already."""
    source = Path(dealias.__file__).parent
    assert [path for path in source.rglob("*.py") if "empty_cache" in path.read_text()] == []


@pytest.mark.parametrize("stop", [None, 5])
def test_a_run_with_a_parked_optimiser_is_the_same_run(
    make_job: Make, stop_after: Callable[..., TrainingJob], stop: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    copies = []

    def host(tensor: torch.Tensor) -> torch.Tensor:
        copies.append(tensor.clone())
        return copies[-1]

    monkeypatch.setattr("dealias.engine.offload.to_host", host)
    plain = make_job("plain")
    train(plain)

    def parked() -> TrainingJob:
        return replace(make_job("parked"), memory=MemoryPolicy(offload=("optimiser",)))

    if stop is not None:
        with pytest.raises(Stopped):
            train(stop_after(parked(), stop))
    job = parked()
    train(job)
    assert copies
    for a, b in zip(plain.network.parameters(), job.network.parameters(), strict=True):
        assert torch.equal(a, b)
