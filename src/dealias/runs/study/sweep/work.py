"""One trial: planned, trained and scored like any other run, or given up with its reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.errors import DiskError
from dealias.runs.ending import ending
from dealias.runs.folder import LOCK, RUN
from dealias.runs.hooks import Hooks
from dealias.runs.study.clock import Clock
from dealias.runs.study.series import refuse_other_settings, scored, train
from dealias.runs.study.sweep.claims import Claim
from dealias.runs.study.sweep.fits import over_budget
from dealias.runs.study.sweep.prune import Validations, below_median
from dealias.runs.study.sweep.space import Space, overrides
from dealias.runs.study.sweep.trial import FAILED, FINISHED, PRUNED, REFUSED, Records, Trial
from dealias.scan.scan import Scan
from dealias.training.job import Progress
from dealias.training.stops import Stopped

LOST = "another worker has taken over"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Sweep:
    """What is tried, and where the trials lie.

    Attributes:
        recipe: A recipe's name or path.
        data: The data set.
        out: The sweep's folder; workers that share it share its trials.
        overrides: Changes of settings, in all trials.
        space: What is tried.
        trials: How many, or None for all points of the space.
        device: Where.
        storage: Of Optuna's, besides the folder; None for none.
    """

    recipe: str
    data: Path
    out: Path
    overrides: tuple[str, ...]
    space: Space
    trials: int | None
    device: torch.device
    storage: str | None = None

    @property
    def records(self) -> Records:
        """Its trials."""
        return Records(self.out / "trials")

    def all_overrides(self, values: dict[str, Any]) -> list[str]:
        """What makes one trial of the recipe."""
        return [*self.overrides, *overrides(values)]

    def settings_of(self, values: dict[str, Any]) -> Recipe:
        """The recipe of one trial."""
        return load_recipe(self.recipe, self.all_overrides(values))


@dataclass(frozen=True)
class Bench:
    """What a worker has at hand for all of its trials.

    Attributes:
        judge: The recipe by whose protocol and masks all trials are scored.
        scans: Those that they are scored on.
        clock: Told of every step.
        warn: Told of everything that is not as it should be.
    """

    judge: Recipe
    scans: Sequence[Scan]
    clock: Clock
    warn: Callable[[str], None]


def run_trial(sweep: Sweep, trial: Trial, claim: Claim, bench: Bench) -> Trial:
    """Train and score a trial, or go on with it.

    Args:
        sweep: Whose.
        trial: With its values.
        claim: This worker's.
        bench: For all trials.

    Returns:
        The trial as it ended.

    Raises:
        Stopped: As asked, or another worker has taken over; it goes on later.
        DiskError: It cannot be written.
    """
    folder = sweep.records.run(trial.number)
    clear(folder, claim)
    watch = _Watch(sweep, trial, claim, bench.clock)
    try:
        recipe = sweep.settings_of(trial.values)
        if not (folder / RUN).is_file():
            refused = over_budget(recipe, sweep.data, sweep.device, bench.warn)
            if refused is not None:
                return replace(trial, state=REFUSED, reason=refused)
        refuse_other_settings(folder, recipe)
        hooks = Hooks(watch.progress, bench.warn, stop=watch.stop)
        train(sweep, folder, sweep.all_overrides(trial.values), hooks)
        scores = scored(folder, bench.scans, bench.judge, sweep.device, bench.clock)
    except Stopped as stopped:
        if watch.reason is None or str(stopped) != watch.reason:
            raise
        return _as_trained(replace(trial, state=PRUNED, reason=watch.reason), folder)
    except (DiskError, OSError):
        raise  # of the machine, not of the trial
    except Exception as error:
        return _as_trained(replace(trial, state=FAILED, reason=ending(error)), folder)
    cells = {f"{cell.anatomy}-x{cell.acceleration}": cell.mean for cell in scores.cells}
    found = replace(trial, state=FINISHED, total=scores.total, cells=cells)
    return _as_trained(found, folder)


def clear(folder: Path, claim: Claim) -> None:
    """Remove what a worker that is gone has left behind."""
    if claim.inherited:
        for lock in folder.rglob(LOCK):
            lock.unlink(missing_ok=True)
    if folder.is_dir() and not (folder / RUN).is_file():
        shutil.rmtree(folder)  # it went before anything was trained


class _Watch:
    """Judges a training by each validation, and stops it where it must end."""

    def __init__(self, sweep: Sweep, trial: Trial, claim: Claim, clock: Clock) -> None:
        self.sweep, self.trial, self.claim, self.clock = sweep, trial, claim, clock
        self.epoch = 0
        self.reason: str | None = None

    def progress(self, now: Progress) -> None:
        self.clock.train(now)
        if now.epoch != self.epoch:
            self.epoch = now.epoch
            self.reason = self._judged()

    def stop(self) -> str | None:
        return LOST if self.claim.lost else self.reason

    def _judged(self) -> str | None:
        settings, records = self.sweep.space.prune, self.sweep.records
        if settings is None:
            return None
        own = validations(records.run(self.trial.number))
        others = [one.validations for one in records.all() if one.state == FINISHED]
        return below_median(self.epoch, own, others, settings)


def validations(folder: Path) -> Validations:
    """Epochs done and the validation's total then, of a run without stages."""
    rows = _rows(folder / "main" / METRICS)
    return tuple((row["epoch"] + 1, row["total"]) for row in rows if row["kind"] == "val")


def _as_trained(trial: Trial, folder: Path) -> Trial:
    rows = [row for path in folder.rglob(METRICS) for row in _rows(path)]
    epochs = sum(row["kind"] == "train" for row in rows)
    return replace(trial, epochs=epochs, validations=tuple(validations(folder)))


def _rows(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # half-written when the power went
    return found
