"""Training of a classifier: what is learned, what the penalty does, and the same bits on resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dealias.data.remask import MaskSettings
from dealias.data.samples import Batch, Samples, collate
from dealias.engine.ranks import Ranks
from dealias.errors import DataError, SettingsError
from dealias.metrics.protocol import PROTOCOLS
from dealias.physics.fourier import fft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Needs
from dealias.scan.scan import Cell, Geometry, Scan
from dealias.training.anatomy import AnatomySettings, AnatomyTask, PenaltySettings
from dealias.training.dealing import Share
from dealias.training.job import TrainingJob
from dealias.training.loop import train
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.running import RunningMeans
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings
from dealias.training.step import Stepper
from shared import same
from training.conftest import Memory
from training.test_resume import final, interrupted, metrics

CPU = torch.device("cpu")
MASKS = MaskSettings(kind="random", accelerations=(2, 3))
SMALL: Any = {"network": {"widths": [4], "depths": [1]}}
ALL = AnatomySettings(**SMALL, loss="bce", penalty=PenaltySettings(weight=1e-4))
Make = Callable[..., TrainingJob]


def scan(number: int, anatomy: str, hw: tuple[int, int] = (24, 20), slices: int = 2) -> Scan:
    """Brains fill the readout, knees the middle of it; a coil for each half of the phase encode."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[-1 : 1 : hw[0] * 1j, -1 : 1 : hw[1] * 1j]
    inside = (np.abs(y) < (0.95 if anatomy == "brain" else 0.35)) * (np.abs(x) < 0.8)
    image = inside * (1 + 0.3 * rng.standard_normal((slices, 1, *hw)))
    coils = np.stack([np.exp(-((x - a) ** 2)) for a in (-0.5, 0.5)])
    kspace = fft(torch.from_numpy((image * coils).astype(np.complex64))).numpy()
    return Scan(
        f"s{number}", kspace.shape, snu_mask(hw[1], 4), True, Geometry(hw, hw), Memory(kspace),
        Cell(anatomy, 4), 2.0,
    )  # fmt: skip


TRAINED = (scan(1, "brain"), scan(2, "knee"), scan(3, "knee", (20, 24)), scan(4, "brain"))
JUDGED = (scan(8, "brain", slices=3), scan(9, "knee", slices=3))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(folder name, settings=AnatomySettings(...), training settings ...)."""

    def job(
        name: str, settings: AnatomySettings = ALL, schedule: ScheduleSettings | None = None,
        **training: Any,
    ) -> TrainingJob:  # fmt: skip
        torch.manual_seed(0)
        folder = tmp_path / name / "main"
        folder.mkdir(parents=True, exist_ok=True)
        loop = TrainingSettings(**{"epochs": 2, "save_minutes": None, "batch_size": 2, **training})
        return TrainingJob(
            settings.build(), MASKS, LossSettings(), OptimiserSettings(name="adamw", lr=1e-2),
            schedule or ScheduleSettings(name="cosine-restarts", period=1), loop, TRAINED, JUDGED,
            PROTOCOLS["fastmri"], folder, CPU, other=AnatomyTask(settings),
        )  # fmt: skip

    return job


def test_shapes_are_told_apart_in_seconds(make: Make) -> None:
    plain = AnatomySettings(**SMALL)
    job = make("run", plain, ScheduleSettings(), epochs=8, validate_every=4, batch_size=4)
    train(job)
    scores = json.loads((job.folder / "scores.json").read_text())
    assert scores["accuracy"] == {"volumes": 1.0, "slices": 1.0}
    assert scores["volume_accuracy"] == {"brain-x4": 1.0, "knee-x4": 1.0}
    assert scores["wrong"] == []
    assert 6 / 7 < scores["total"] < 1
    rows = metrics(job)
    last = [row for row in rows if row["kind"] == "val"][-1]
    assert last["cells"] == last["volume_accuracy"] == {"brain-x4": 1.0, "knee-x4": 1.0}
    assert last["loss"] < 0.5 < rows[0]["loss"]
    assert not (job.folder / "examples.npz").exists()


@pytest.mark.parametrize(
    ("steps", "settings"),
    [([1, 3], {}), ([6], {"ema": 0.9, "accumulation": 2}),
     ([2, 7], {"average": {"kind": "last", "count": 2}, "clip_norm": 0.1, "batch_size": 1})],
)  # fmt: skip
def test_a_stopped_training_ends_with_the_same_bits(
    steps: list[int], settings: dict[str, Any], make: Make, stop_after: Any
) -> None:
    straight = make("straight", **settings)
    train(straight)
    other = interrupted(make, stop_after, steps, **settings)
    a, b = final(straight), final(other)
    assert float(a["network"]["network.bn1.running_var"].std()) > 0
    for key in a:
        assert same(a[key], b[key]), f"{key} differs"
    assert metrics(straight) == metrics(other)
    assert (straight.folder / "scores.json").read_bytes() == (
        other.folder / "scores.json"
    ).read_bytes()


def batch_of(places: list[int]) -> Batch:
    """In float64."""
    samples = Samples(TRAINED, MASKS, Needs(), 0)
    batch = collate([samples[0, place] for place in places])
    return replace(batch, kspace_BSCHW=batch.kspace_BSCHW.to(torch.complex128))


def stepped(settings: AnatomySettings, groups: list[list[int]], poison: bool = False) -> Any:
    """The state before and after one plain step, in float64."""
    torch.manual_seed(0)
    network = settings.build().double().train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    batches = tuple(batch_of(group) for group in groups)
    if poison:
        batches[-1].kspace_BSCHW[0, 0, 0, 12, 10] = torch.nan
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    stepper = Stepper(network, optimiser, scaler, AnatomyTask(settings), None, CPU)
    names = tuple(name for batch in batches for name in batch.names)
    result = stepper(Share(batches, tuple(range(len(batches))), names))
    return before, network.state_dict(), result


@pytest.mark.parametrize("groups", [[[0, 2]], [[0, 2], [3]], [[4], [5], [0, 1, 2]]])
@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_the_penalty_counts_once_a_step(kind: Any, groups: list[list[int]]) -> None:
    plain = AnatomySettings(**SMALL)
    penalised = plain.model_copy(update={"penalty": PenaltySettings(kind=kind, weight=1e-3)})
    before, without, small = stepped(plain, groups)
    _, after, large = stepped(penalised, groups)
    moved = [name for name in before if not torch.equal(before[name], without[name])]
    trained = [name for name in moved if "running" not in name and "tracked" not in name]
    assert len(trained) > 10
    total = 0.0
    for name in trained:
        p = before[name]
        slope = 1e-3 * (p.sign() if kind == "l1" else 2 * p)
        torch.testing.assert_close(without[name] - after[name], slope, rtol=0, atol=1e-14)
        total += 1e-3 * float(p.abs().sum() if kind == "l1" else p.square().sum())
    # every slice's loss has it, so that their mean is what is minimised
    np.testing.assert_allclose(np.subtract(large.losses, small.losses), total, rtol=1e-9)


def test_losses_are_their_closed_forms() -> None:
    scores_BK, right_B = torch.tensor([[1.0, -2.0], [0.5, 0.0]]).double(), torch.tensor([1, 0])
    soft = AnatomyTask(AnatomySettings(**SMALL)).compare(scores_BK, right_B)
    margin_B = torch.tensor([3.0, -0.5]).double()
    torch.testing.assert_close(soft, torch.log1p(margin_B.exp()))
    bce = AnatomyTask(AnatomySettings(**SMALL, loss="bce")).compare(scores_BK, right_B)
    wanted = [[1.0, 2.0], [-0.5, 0.0]]  # how far each output is on the wrong side
    torch.testing.assert_close(bce, F.softplus(torch.tensor(wanted).double()).mean(1))


def test_a_step_that_is_not_taken_leaves_the_running_means() -> None:
    before, after, result = stepped(ALL, [[0, 2], [3]], poison=True)
    assert not result.applied
    assert same(before, dict(after))
    before, after, result = stepped(ALL, [[0, 2], [3]])
    assert result.applied
    assert int(after["network.bn1.num_batches_tracked"]) == 2
    assert not torch.equal(before["network.bn1.running_mean"], after["network.bn1.running_mean"])


class Threads:
    """Stand for ranks: threads of this process that add."""

    def __init__(self, size: int) -> None:
        self.barrier, self.rows = Barrier(size), [torch.empty(0)] * size

    def of(self, rank: int) -> Ranks:
        threads = self

        class One(Ranks):
            def add(self, tensor: torch.Tensor) -> None:
                threads.rows[rank] = tensor.clone()
                threads.barrier.wait()
                tensor.copy_(torch.stack(threads.rows).sum(0))
                threads.barrier.wait()

        return One(rank, len(self.rows))


def test_ranks_end_with_the_running_means_of_one_that_saw_all() -> None:
    torch.manual_seed(2)
    steps = [[torch.randn(2, 4, 3, 3, dtype=torch.float64) * k for k in sizes]
             for sizes in ((1, 2, 3), (4, 5))]  # fmt: skip
    threads = Threads(2)

    def work(rank: int) -> dict[str, torch.Tensor]:
        norm = torch.nn.BatchNorm2d(4, momentum=0.3).double()
        running = RunningMeans(norm)
        for step in steps:
            mine = (step[:-1], step[-1:])[rank]
            with running.undone() as keep:
                for x in mine:
                    norm(x)
                running.join(len(mine), threads.of(rank))
                keep(True)
        return norm.state_dict()

    alone = torch.nn.BatchNorm2d(4, momentum=0.3).double()
    for x in (x for step in steps for x in step):
        alone(x)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(work, range(2)):
            for name, wanted in alone.state_dict().items():
                torch.testing.assert_close(found[name], wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"cell": None}, "s4: found no label"),
     ({"cell": Cell("hand", 4)}, r"s4: found anatomy 'hand'; expected one of brain, knee"),
     ({"geometry": Geometry((24, 20), (4, 4))}, "strides of 4 leave one pixel")],
)  # fmt: skip
def test_scans_that_teach_nothing_are_refused(change: dict[str, Any], message: str) -> None:
    odd = replace(TRAINED[3], **change)
    for sets in (((*TRAINED, odd), ()), (TRAINED, (odd,))):
        with pytest.raises((DataError, SettingsError), match=message):
            AnatomyTask(ALL).refuse(*sets)


def test_a_class_without_a_scan_is_refused() -> None:
    with pytest.raises(DataError, match="found no scan of knee; expected some of every class"):
        AnatomyTask(ALL).refuse((TRAINED[0], TRAINED[3]), JUDGED)
    AnatomyTask(ALL).refuse(TRAINED, ())
