"""Trainings of a study: one recipe under some overrides and seeds, each a run folder of its own.

Run again, a study skips what is finished, continues what is half done, and refuses a folder that
was made with other settings or data.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import dealias
from dealias.atomic import write_json
from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.catalogue import open_split
from dealias.errors import DataError, SettingsError
from dealias.evaluation.scores import Scores, read_scores, write_scores
from dealias.inference.locate import MANIFEST
from dealias.runs.folder import RUN, RunFolder
from dealias.runs.hooks import Hooks
from dealias.runs.study.scored import SCORES, judged_by, model_scores, run_recipe
from dealias.runs.train import resume, start
from dealias.training.facts import manifest_of
from dealias.training.job import Progress

STUDY, AS_IT_IS = "study.json", "as-it-is"


@dataclass(frozen=True)
class Arm:
    """A way of training that is repeated over seeds.

    Attributes:
        name: Its folder below the study's.
        overrides: Changes of the recipe's settings.
    """

    name: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """How far a study is.

    Attributes:
        run: Which run, such as "as-it-is/seed-430".
        share: Of the whole study, 0..1.
        left: Seconds, or None as long as nothing tells.
        training: Of the run, or None while it is scored.
    """

    run: str
    share: float
    left: float | None
    training: Progress | None


@dataclass(frozen=True)
class Study:
    """What is studied, and where its runs lie.

    Attributes:
        recipe: A recipe's name or path.
        data: The data set.
        out: The study's folder.
        overrides: Changes of settings, in all arms.
        seeds: How many, from the recipe's own on.
        device: Where.
    """

    recipe: str
    data: Path
    out: Path
    overrides: tuple[str, ...]
    seeds: int
    device: torch.device

    @functools.cached_property
    def settings(self) -> Recipe:
        """The recipe as it is."""
        return load_recipe(self.recipe, list(self.overrides))

    def settings_of(self, arm: Arm, seed: int) -> Recipe:
        """The recipe of one run."""
        return load_recipe(self.recipe, self.all_overrides(arm, seed))

    def all_overrides(self, arm: Arm, seed: int) -> list[str]:
        """What makes one run of the recipe."""
        return [*self.overrides, *arm.overrides, f"training.seed={seed}"]

    @property
    def counted(self) -> range:
        """The seeds."""
        first = judged_by(self.settings).training.seed
        return range(first, first + self.seeds)

    def folder(self, arm: Arm, seed: int) -> Path:
        """Of one run."""
        return self.out / arm.name / f"seed-{seed}"


def run_study(
    study: Study,
    arms: Sequence[Arm],
    progress: Callable[[Done], None] = lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
) -> dict[str, tuple[Scores, ...]]:
    """Train and score what is not there yet.

    Every run is scored on the validation split through the same masks, the recipe's as it is.

    Args:
        study: What, where.
        arms: Ways to train.
        progress: Told of every step.
        warn: Told of everything that is not as it should be.

    Returns:
        Scores of each arm by its name, one for each seed in order.

    Raises:
        SettingsError: An arm cannot be trained; a run in the folder has other settings.
        DataError: The data cannot be used, or are not those that the study began with.
        Stopped: As asked; the same call continues.
        UserError: As for training and scoring.
    """
    runs = [(arm, seed) for seed in study.counted for arm in arms]
    # all of them before the first one trains
    for arm, seed in runs:
        _refuse_other_settings(study.folder(arm, seed), study.settings_of(arm, seed))
    judge = judged_by(study.settings)
    scans = open_split(study.data, judge.data.val)
    _refuse_other_data(study, judge)
    clock = _Clock(len(runs), progress)
    found: dict[str, list[Scores]] = {arm.name: [] for arm in arms}
    for arm, seed in runs:
        folder = study.folder(arm, seed)
        clock.begin(folder.relative_to(study.out).as_posix(), _trained(folder))
        if not _trained(folder):
            _train(study, arm, seed, Hooks(clock.train, warn))
        kept = folder / "evaluations" / "val" / SCORES
        if not kept.is_file():
            clock.score()
            write_scores(kept, model_scores(folder, scans, judge, study.device))
        found[arm.name].append(read_scores(kept))
        clock.end()
    return {name: tuple(scores) for name, scores in found.items()}


def _train(study: Study, arm: Arm, seed: int, hooks: Hooks) -> None:
    folder = study.folder(arm, seed)
    if (folder / RUN).is_file():
        resume(folder, study.data, [], study.device, hooks)
    else:
        start(study.recipe, study.data, folder, study.all_overrides(arm, seed), study.device, hooks)


def _trained(folder: Path) -> bool:
    """Whether a run has its model, which is the last thing that it writes."""
    return (RunFolder(folder).model / MANIFEST).is_file()


def _refuse_other_settings(folder: Path, recipe: Recipe) -> None:
    if (folder / RUN).is_file() and run_recipe(folder) != recipe:
        do = "choose another --out, or remove the run"
        raise SettingsError(folder, "a run with other settings", "this study's", do)


def _refuse_other_data(study: Study, recipe: Recipe) -> None:
    parts = [open_split(study.data, split) for split in (recipe.data.train, recipe.data.val)]
    text = json.dumps([manifest_of(part) for part in parts])
    facts = {"dealias": dealias.__version__, "data": hashlib.sha256(text.encode()).hexdigest()}
    path = study.out / STUDY
    if not path.is_file():
        write_json(path, facts)
    elif json.loads(path.read_text()).get("data") != facts["data"]:
        do = "restore them, or choose another --out"
        raise DataError(study.data, "other data", "those that the study began with", do)


class _Clock:
    """Tells how far a study is, and how long the rest will take by what was done so far."""

    def __init__(self, runs: int, tell: Callable[[Done], None]) -> None:
        self.runs, self.tell = runs, tell
        self.name, self.ended, self.skipped = "", 0, 0
        self.began = time.monotonic()
        self.there = False

    def begin(self, name: str, there: bool) -> None:
        self.name, self.there = name, there

    def train(self, progress: Progress) -> None:
        self._tell(progress.step / max(progress.steps, 1), progress)

    def score(self) -> None:
        self._tell(1.0, None)

    def end(self) -> None:
        self.ended += 1
        self.skipped += self.there
        self._tell(0.0, None)

    def _tell(self, share: float, training: Progress | None) -> None:
        worked = self.ended - self.skipped + share
        rest = self.runs - self.ended - share
        left = (time.monotonic() - self.began) / worked * rest if worked else None
        self.tell(Done(self.name, (self.ended + share) / self.runs, left, training))
