"""Training from a cache ends with the very bits of training from the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_split
from dealias.data.keep import Keep
from dealias.data.remask import MaskSettings
from dealias.metrics.protocol import PROTOCOLS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.scan.profile import Profile
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.loop import Stopped, TrainingJob, manifest_of, train
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings
from shared import same

TINY = VarNetSettings(
    cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1, readout_crop=2
)
EPOCHS, STEPS = 3, 9
"""Six slices in batches of two: three steps an epoch."""


@pytest.fixture
def cache(root: Path, tmp_path: Path) -> Path:
    make_cache(plan_cache(root, Keep(2)), tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., TrainingJob]:
    """job(data, name, ...): a job on a data set or cache, in a folder of that name."""

    def make(data: Path, name: str, masks: str = "random", workers: int = 0) -> TrainingJob:
        torch.manual_seed(0)
        folder = tmp_path / name / "main"
        folder.mkdir(parents=True, exist_ok=True)
        settings = TrainingSettings(epochs=EPOCHS, batch_size=2, save_minutes=None, ema=0.9,
                                    validate_every=1, workers=workers)  # fmt: skip
        return TrainingJob(
            VarNet(TINY), MaskSettings(kind=masks, accelerations=(2, 3)), LossSettings(),
            OptimiserSettings(lr=1e-2), ScheduleSettings(), settings, open_split(data, "train"),
            open_split(data, "val"), PROTOCOLS["fastmri"], folder, torch.device("cpu"),
        )  # fmt: skip

    return make


def stopped(job: TrainingJob, steps: int) -> None:
    """Train until the n-th step asks to stop."""
    count = iter(range(1, 1000))
    with pytest.raises(Stopped):
        train(replace(job, stop=lambda: "asked" if next(count) >= steps else None))


def outcome(job: TrainingJob) -> dict[str, Any]:
    """All that a run leaves, but for times."""
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    state, manifest = read_checkpoint(path)
    rows = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    assert state.step == STEPS
    found: dict[str, Any] = vars(state) | {"data": manifest["data"]}
    for name in ("scores.json", "finished.json", "examples.json", "examples.npz"):
        found[name] = (job.folder / name).read_bytes()
    timed = ("seconds", "memory")
    return found | {"rows": [{k: v for k, v in row.items() if k not in timed} for row in rows]}


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    for key in a:
        assert same(a[key], b[key]), f"{key} differs"


@pytest.mark.parametrize(("masks", "workers"), [("random", 0), ("snu", 0), ("stored", 2)])
def test_weights_and_scores_have_the_same_bits(
    masks: str, workers: int, root: Path, cache: Path, job: Callable[..., TrainingJob]
) -> None:
    straight, other = job(root, "files", masks), job(cache, "cache", masks, workers)
    train(straight)
    train(other)
    assert_same(outcome(straight), outcome(other))


@pytest.mark.parametrize("first", ["files", "cache"])
def test_a_run_goes_on_from_either(
    first: str, root: Path, cache: Path, job: Callable[..., TrainingJob]
) -> None:
    straight = job(root, "straight")
    train(straight)
    data = {"files": root, "cache": cache}
    stopped(job(data.pop(first), "run"), 4)
    (then,) = data.values()
    going_on = job(then, "run")
    train(going_on)
    assert_same(outcome(straight), outcome(going_on))


def test_a_run_is_told_the_same_data(root: Path, cache: Path) -> None:
    a, b = (open_split(one, "train") for one in (root, cache))
    assert manifest_of(a) == manifest_of(b)
    assert Profile.of(a) == Profile.of(b)
