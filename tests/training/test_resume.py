"""A run stopped anywhere and continued ends with the very bits of the uninterrupted one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dealias.errors import CheckpointError
from dealias.training.checkpoint import Checkpoints, TrainState, read_checkpoint
from dealias.training.loop import Stopped, TrainingJob, train
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from shared import same

Make = Callable[..., TrainingJob]
Stop = Callable[[TrainingJob, int], TrainingJob]


def final(job: TrainingJob) -> dict[str, Any]:
    """Everything in the last checkpoint."""
    path = Checkpoints(job.folder / "checkpoints", 2, lambda text: None).path("latest")
    assert path is not None
    return vars(read_checkpoint(path)[0])


def metrics(job: TrainingJob) -> list[dict[str, Any]]:
    """Of metrics.jsonl, without what the machine tells."""
    lines = (job.folder / "metrics.jsonl").read_text().splitlines()
    measured = ("seconds", "memory")
    return [{k: v for k, v in json.loads(line).items() if k not in measured} for line in lines]


def interrupted(make: Make, stop: Stop, steps: list[int], resume: dict[str, Any] | None = None,
                **settings: Any) -> TrainingJob:  # fmt: skip
    """Train with a stop after each number of steps, then to the end."""
    job = make("interrupted", **settings)
    for count in steps:
        with pytest.raises(Stopped):
            train(stop(replace(make("interrupted", **settings)), count))
    job = make("interrupted", **{**settings, **(resume or {})})
    train(job)
    return job


WARM = ScheduleSettings(name="linear-constant-step", warm_epochs=1, start=1, size=1, gamma=0.3)
CASES: dict[str, tuple[list[int], dict[str, Any], dict[str, Any]]] = {
    "first step": ([1], {}, {}),
    "mid-epoch": ([3], {}, {}),
    "last step of an epoch": ([8], {}, {}),
    "after an epoch": ([10], {}, {}),
    "accumulation with a partial group": ([2], {"accumulation": 3}, {}),
    "two stops across a schedule's switch": ([3, 7], {"schedule": WARM}, {}),
    "batches of one shape": ([2], {"batch_size": 2}, {}),
    "clipping": ([3], {"clip_norm": 0.1}, {}),
    "a moving average of the weights": ([3, 9], {"ema": 0.9}, {}),
    "nadam in two groups, plateau, a mean of epochs": (
        # first in a validation, whose epoch counts once; then when two epochs count
        [9, 13],
        {"optimiser": OptimiserSettings(name="nadam", lr=1e-2, weight_decay=0.1, decay_all=False),
         "schedule": ScheduleSettings(name="plateau", patience=0, threshold=0.9, gamma=0.5),
         "average": {"kind": "swa"}, "epochs": 3}, {},
    ),
    "radam, restarts, the last epochs, accumulation that changes": (
        [2, 6],
        {"optimiser": OptimiserSettings(name="radam", lr=1e-2),
         "schedule": ScheduleSettings(name="cosine-restarts", period=1, multiplier=2),
         "average": {"kind": "last", "count": 2}, "accumulation": [[0, 2], [1, 3], [2, 1]],
         "epochs": 3}, {},
    ),
    "one cycle, and an early end": (
        [5, 13],
        {"schedule": ScheduleSettings(name="onecycle", peak=2.0), "epochs": 4,
         "early_stop": [[2, 1.1]]}, {},
    ),
    "bf16": ([3], {"precision": "bf16"}, {}),
    "fp16 with its scaler": ([3], {"precision": "fp16"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_ends_with_the_same_bits(case: str, make_job: Make, stop_after: Stop) -> None:
    steps, settings, resume = CASES[case]
    straight = make_job("straight", **settings)
    train(straight)
    other = interrupted(make_job, stop_after, steps, resume, **settings)
    a, b = final(straight), final(other)
    assert a["step"] > 0
    for key in a:
        assert same(a[key], b[key]), f"{key} differs"
    assert metrics(straight) == metrics(other)
    for name in ("scores.json", "finished.json"):
        assert (straight.folder / name).read_text() == (other.folder / name).read_text()


def test_the_number_of_workers_changes_nothing(make_job: Make, stop_after: Stop) -> None:
    straight = make_job("straight")
    train(straight)
    other = interrupted(make_job, stop_after, [3], {"workers": 2})
    assert same(final(straight)["network"], final(other)["network"])
    assert same(final(straight)["optimiser"], final(other)["optimiser"])


def test_another_seed_is_another_run(make_job: Make) -> None:
    jobs = [make_job("a", seed=1), make_job("b", seed=2)]
    for job in jobs:
        train(job)
    assert not same(final(jobs[0])["network"], final(jobs[1])["network"])


def test_metrics_hold_each_epoch_once(make_job: Make, stop_after: Stop) -> None:
    job = interrupted(make_job, stop_after, [3, 9])
    rows = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["epoch"]) for row in rows] == [
        ("train", 0), ("val", 0), ("train", 1), ("val", 1),
    ]  # fmt: skip


def test_the_schedule_follows_the_epoch(make_job: Make, stop_after: Stop) -> None:
    job = interrupted(make_job, stop_after, [9], schedule=WARM, epochs=3)
    rows = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [row["lr"] for row in rows if row["kind"] == "train"]
    assert rates == pytest.approx([1e-3, 1e-2, 3e-3])


def damaged(folder: Path, how: str) -> None:
    state = folder / "state.pt"
    data = bytearray(state.read_bytes())
    if how == "truncated":
        state.write_bytes(data[: len(data) // 2])
    elif how == "one flipped bit":
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
    elif how == "empty":
        state.write_bytes(b"")
    elif how == "no manifest":
        (folder / "manifest.json").unlink()


@pytest.mark.parametrize("how", ["truncated", "one flipped bit", "empty", "no manifest"])
def test_a_damaged_newest_checkpoint_falls_back_loudly(
    how: str, make_job: Make, stop_after: Stop
) -> None:
    straight = make_job("straight")
    train(straight)
    with pytest.raises(Stopped):
        train(stop_after(make_job("run"), 3))
    with pytest.raises(Stopped):
        train(stop_after(make_job("run"), 2))
    folders = sorted((make_job("run").folder / "checkpoints").glob("0*"))
    damaged(folders[-1], how)
    said: list[str] = []
    job = replace(make_job("run"), warn=said.append)
    train(job)
    assert any("000005" in text for text in said)
    assert any("continuing from 000003" in text for text in said)
    assert same(final(job)["network"], final(straight)["network"])


def test_no_good_checkpoint_never_means_from_the_start(make_job: Make, stop_after: Stop) -> None:
    with pytest.raises(Stopped):
        train(stop_after(make_job("run"), 3))
    folder = make_job("run").folder / "checkpoints" / "000003"
    damaged(folder, "one flipped bit")
    before = (folder / "state.pt").read_bytes()
    with pytest.raises(CheckpointError, match="none of them whole"):
        train(make_job("run"))
    assert (folder / "state.pt").read_bytes() == before


def test_a_pointer_that_leads_nowhere_is_no_loss(make_job: Make, stop_after: Stop) -> None:
    with pytest.raises(Stopped):
        train(stop_after(make_job("run"), 3))
    job = make_job("run")
    (job.folder / "checkpoints" / "latest").write_text("999999\n")
    train(job)
    assert final(job)["epoch"] == 2


def test_the_only_checkpoint_survives_a_crash_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dealias.training import checkpoint

    checkpoints = Checkpoints(tmp_path, 2, lambda text: None)
    checkpoints.save(TrainState(step=3, position=3), {})

    def crash(point: str) -> None:
        if point == "checkpoint-set-aside":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "fault", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(TrainState(step=3, epoch=1), {})
    assert not (tmp_path / "000003").exists()
    loaded = checkpoints.load()
    assert loaded is not None
    assert (loaded[0].step, loaded[0].position) == (3, 3)


def test_old_checkpoints_go_and_the_best_stays(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 2, lambda text: None)
    best = {"total": 0.9, "epoch": 0, "step": 1}
    for step in range(1, 6):
        checkpoints.save(TrainState(step=step, best=best), {})
    assert sorted(p.name for p in tmp_path.glob("0*")) == ["000001", "000004", "000005"]
    path = checkpoints.path("best")
    assert path is not None
    assert path.name == "000001"


def test_another_environment_is_said(make_job: Make, stop_after: Stop) -> None:
    with pytest.raises(Stopped):
        train(stop_after(make_job("run"), 3))
    manifest = make_job("run").folder / "checkpoints" / "000003" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["environment"]["torch"] = "1.0"
    manifest.write_text(json.dumps(facts))
    said: list[str] = []
    train(replace(make_job("run"), warn=said.append))
    assert any("was 1.0" in text and "last bits" in text for text in said)
