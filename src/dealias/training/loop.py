"""The training loop: resumable at any step, bit for bit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import torch

from dealias.data.order import epoch_batches
from dealias.data.samples import Samples
from dealias.data.strength import Strengths, strength
from dealias.engine.precision import allow_tf32, set_precision
from dealias.engine.ranks import Broken
from dealias.engine.usage import peak_memory
from dealias.errors import HealthError, SettingsError
from dealias.faults import fault
from dealias.training.accumulation import batches_at, steps_of
from dealias.training.averaging import Average
from dealias.training.checkpoint import Checkpoints, TrainState
from dealias.training.dealing import Share, Turn, deal, read
from dealias.training.early import missed
from dealias.training.events import open_events
from dealias.training.examples import write_examples
from dealias.training.facts import environment, manifest_of
from dealias.training.health import Health
from dealias.training.job import Progress, TrainingJob
from dealias.training.journal import Journal
from dealias.training.loader import worker_died
from dealias.training.optimiser import build_optimiser
from dealias.training.parts import Parts
from dealias.training.same import (
    refuse_another_step,
    refuse_different_ranks,
    refuse_different_weights,
)
from dealias.training.schedules import Moment, lr_factor
from dealias.training.step import Stepper, StepResult
from dealias.training.stops import Stopped, Stops
from dealias.training.validated import following_validation

__all__ = ["Progress", "Stopped", "TrainingJob", "environment", "manifest_of", "train"]


def train(job: TrainingJob) -> None:
    """Train to the last epoch, from the newest checkpoint if there is one.

    Args:
        job: Everything.

    Raises:
        Stopped: As asked, with a checkpoint saved.
        DataError: A file cannot be used.
        CheckpointError: There are checkpoints but none can be continued.
        HealthError: Numbers that are not finite, no memory, a dead worker, or ranks that differ.
        DiskError: A checkpoint cannot be written.
        Broken: A rank has left; a checkpoint was saved.
    """
    if job.training.threads is not None:
        torch.set_num_threads(job.training.threads)
    allow_tf32(job.training.tf32)
    run = _Run(job)
    try:
        run.run()
    finally:
        run.journal.close()


class _Run:
    def __init__(self, job: TrainingJob) -> None:
        _refuse_unvalidated(job)
        self.job, self.ranks = job, job.ranks
        self.stops = Stops(job.stop, job.time_limit, job.ranks)
        self.journal = Journal(job.folder, job.ranks.first)
        self.health = Health(job.training.bad_step_limit, self.journal, job.warn)
        set_precision(job.network, job.training.precision)
        self.network = job.network.to(job.device).train()
        self.samples = Samples(
            job.train_scans, job.masks, self.network.needs, job.training.seed, job.task.area,
            job.augment,
        )  # fmt: skip
        if not len(self.samples):
            raise SettingsError("data.train", "no slices", "training data", "check --data")
        self.checkpoints = Checkpoints(job.folder / "checkpoints", job.training.keep_last, job.warn)
        self.optimiser = build_optimiser(job.optimiser, self.network)
        job.memory.park(self.optimiser)
        enabled = job.training.precision == "fp16"
        self.scaler = torch.amp.GradScaler(job.device.type, enabled=enabled)
        self.stepper = Stepper(
            self.network, self.optimiser, self.scaler, job.task, job.training.clip_norm, job.device,
            job.ranks,
        )  # fmt: skip
        kind = job.training.average
        self.average = None if kind is None else Average(kind, self.network)
        self.parts = Parts(self.network, self.optimiser, self.scaler, self.average)
        self.state = TrainState()
        self.groups: list[tuple[int, ...]] = []
        self.saved = time.monotonic()
        self.epoch_started = time.monotonic()
        self.total: float | None = None

    def run(self) -> None:
        self._resume()
        refuse_different_ranks(self.ranks, manifest_of(self.job.train_scans), self.job.recorded)
        refuse_different_weights(self.ranks, self.network)
        while self.state.epoch < self.job.training.epochs and self._missed() is None:
            try:
                self._epoch()
            except Broken:
                # no rank's weights have changed since the last step that all of them did
                self._write()
                raise
            except RuntimeError as error:
                # perhaps in the middle of a step: the newest checkpoint stands, nothing is saved
                raise worker_died(error) or error from None
        self._finish()

    def _missed(self) -> str | None:
        return missed(self.job.training.early_stop, self.state.epoch, self.state.totals)

    def _finish(self) -> None:
        state, reason = self.state, self._missed()
        facts = {"step": state.step, "epochs": state.epoch, "best": state.best, "stopped": reason}
        self.journal.file("finished.json", facts)
        if reason is not None:
            self.job.warn(f"{reason}: training ends here, as training.early_stop asks")

    def _resume(self) -> None:
        loaded = self.ranks.from_first(self.checkpoints.load)
        if loaded is not None:
            self._load(*loaded)
        elif self.ranks.first:
            (self.job.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        self.journal.begin(self.state.epoch)
        if self.job.training.tensorboard and self.ranks.first:
            # what follows this step is written again; at an epoch's end its own rows stand
            purge = self.state.step + (self.state.position == 0)
            self.journal.events = open_events(self.job.folder, purge, self.job.warn)

    def _load(self, state: TrainState, manifest: dict[str, Any]) -> None:
        self.state = state
        self.parts.restore(state)
        self.total = next(reversed(state.totals.values()), state.best.get("total"))
        now, then = environment(self.job.device, self.ranks.size), manifest.get("environment", {})
        refuse_another_step(self.job.training, self.ranks.size, manifest)
        for key, value in now.items():
            if then.get(key) != value:
                text = f"{key} is {value} and was {then.get(key)}: the last bits may differ"
                self.job.warn(text)

    def _epoch(self) -> None:
        training, state = self.job.training, self.state
        self.groups = epoch_batches(
            self.samples.keys(), training.batch_size, training.seed, state.epoch,
            self.samples.sizes(),
        )  # fmt: skip
        self.epoch_started = time.monotonic()
        for turn, share in self._steps():
            self._step(turn, share)
        self._end_epoch()

    def _steps(self) -> Iterator[tuple[Turn, Share]]:
        """This rank's part of each remaining step of the epoch."""
        training, state = self.job.training, self.state
        batches = batches_at(training.accumulation, state.epoch)
        turns = deal(self.groups, state.position, batches, self.ranks)
        try:
            yield from read(self.samples, state.epoch, turns, training.workers, self._strengths())
        except HealthError:
            self._write()
            raise

    def _strengths(self) -> Strengths:
        """Of this epoch: functions of what a checkpoint holds, so that it may end anywhere."""
        job, state = self.job, self.state
        augment, masks = (
            strength(settings, state.epoch, state.validation_losses)
            for settings in (job.augment.strength, job.masks.probability)
        )
        return Strengths(augment, masks)

    def _step(self, turn: Turn, share: Share) -> None:
        state, job = self.state, self.job
        self._set_lr()
        result = self.stepper(share, state.epoch)
        state.position += len(turn.groups)
        state.step += 1
        self._average(result)
        self._judge(result)
        fault("step")
        job.progress(self._progress("training"))
        self._poll()
        minutes = job.training.save_minutes
        if minutes is not None and time.monotonic() - self.saved > 60 * minutes:
            self._write()

    def _set_lr(self) -> None:
        state, job = self.state, self.job
        part = state.position / len(self.groups)
        moment = Moment(state.epoch, part, job.training.epochs, state.validation_losses)
        factor = lr_factor(job.schedule, moment)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = job.optimiser.lr * factor

    def _average(self, result: StepResult) -> None:
        """Before anything is saved, so that a resumed run counts nothing twice."""
        if self.average is not None and result.applied:
            self.average.after_step(self.network)
        if self.average is not None and self.state.position == len(self.groups):
            self.average.after_epoch(self.network, self.state.epoch)

    def _judge(self, result: StepResult) -> None:
        error = self.health.judge(self.state, result)
        if error is not None:
            self._save()
            raise error

    def _end_epoch(self) -> None:
        state, training = self.state, self.job.training
        count = state.loss_count
        loss = state.loss_sum / count if count else None
        self._row("train", loss=loss, memory=peak_memory(self.job.device))
        if self.job.val_scans and training.validates(state.epoch):
            self._validate()
        refuse_different_weights(self.ranks, self.network)
        state.epoch, state.position = state.epoch + 1, 0
        state.loss_sum, state.loss_count = 0.0, 0
        self._save()

    def _validate(self) -> None:
        job, state = self.job, self.state
        job.progress(self._progress("validating"))
        try:
            found = job.task.validate(
                self.parts.kept, job.val_scans, job.masks, job.training.seed, job.device, self.stops
            )
        except Stopped:
            # the epoch's steps are done: they are saved, the validation is run again on resume
            self._save()
            raise
        scores = found.scores
        self.total = state.totals[state.epoch] = scores.total
        cells = {f"{cell.anatomy}-x{cell.acceleration}": cell.mean for cell in scores.cells}
        self._row("val", loss=found.loss, total=scores.total, cells=cells, **found.more)
        if scores.total > state.best.get("total", float("-inf")):
            state.best = {"total": scores.total, "epoch": state.epoch, "step": state.step}
            self.journal.file("scores.json", scores.to_json())
            if self.ranks.first:
                write_examples(job.folder, found)

    def _poll(self) -> None:
        try:
            with self.stops.everywhere():
                self.stops.here()
        except Stopped:
            self._save()
            raise

    def _save(self) -> None:
        """Write a checkpoint, at a place that all ranks come to, and have it when any goes on."""
        self._write()
        self.ranks.wait()

    def _write(self) -> None:
        if not self.ranks.first:
            return
        self.parts.gather(self.state)
        facts = {
            "settings": self.job.recorded,
            "data": manifest_of(self.job.train_scans),
            "environment": environment(self.job.device, self.ranks.size),
        }
        self.checkpoints.save(dataclasses.replace(self.state), facts)
        self.saved = time.monotonic()

    def _row(self, kind: str, **values: Any) -> None:
        seconds = time.monotonic() - self.epoch_started
        self.epoch_started = time.monotonic()
        lr = self.optimiser.param_groups[0]["lr"]
        self.journal.row(kind=kind, epoch=self.state.epoch, step=self.state.step, lr=lr,
                         seconds=round(seconds, 3), **values)  # fmt: skip

    def _progress(self, doing: str) -> Progress:
        state, training = self.state, self.job.training
        steps = steps_of(training.accumulation, len(self.groups), self.ranks.size, training.epochs)
        mean = state.loss_sum / state.loss_count if state.loss_count else None
        return Progress(state.epoch, training.epochs, state.step, steps, mean, self.total, doing)


def _refuse_unvalidated(job: TrainingJob) -> None:
    """What follows the validation needs one."""
    if job.val_scans:
        return
    for name in following_validation(job.schedule, job.training, job.augment, job.masks):
        raise SettingsError("data.val", "no scans", f"some, which {name} follows", "set data.val")
