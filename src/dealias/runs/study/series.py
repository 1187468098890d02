"""Trainings of a study: one recipe under some overrides and seeds, each a run folder of its own.

Run again, a study skips what is finished, continues what is half done, and refuses a folder that
was made with other settings or data.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
from dealias.runs.study.clock import Clock, Done
from dealias.runs.study.scored import (
    SCORES,
    judged_by,
    model_scores,
    refuse_unscored,
    run_recipe,
)
from dealias.runs.train import resume, start
from dealias.scan.scan import Scan
from dealias.training.facts import manifest_of

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
        settings = study.settings_of(arm, seed)
        refuse_unscored(settings)
        refuse_other_settings(study.folder(arm, seed), settings)
    judge = judged_by(study.settings)
    scans = open_split(study.data, judge.data.val)
    _refuse_other_data(study, judge)
    clock = Clock(len(runs), progress)
    found: dict[str, list[Scores]] = {arm.name: [] for arm in arms}
    for arm, seed in runs:
        folder = study.folder(arm, seed)
        clock.begin(folder.relative_to(study.out).as_posix(), trained(folder))
        train(study, folder, study.all_overrides(arm, seed), Hooks(clock.train, warn))
        found[arm.name].append(scored(folder, scans, judge, study.device, clock))
        clock.end()
    return {name: tuple(scores) for name, scores in found.items()}


class Where(Protocol):
    """What all trainings of a study have in common."""

    @property
    def recipe(self) -> str:
        """A recipe's name or path."""
        ...

    @property
    def data(self) -> Path:
        """The data set."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they run."""
        ...


def train(study: Where, folder: Path, overrides: list[str], hooks: Hooks) -> None:
    """Train one run, continue it where it is half done, or leave it where it is finished.

    Raises:
        UserError: As for training.
    """
    if trained(folder):
        return
    if (folder / RUN).is_file():
        resume(folder, study.data, [], study.device, hooks)
    else:
        start(study.recipe, study.data, folder, overrides, study.device, hooks)


def trained(folder: Path) -> bool:
    """Whether a run has its model, which is the last thing that it writes."""
    return (RunFolder(folder).model / MANIFEST).is_file()


def scored(
    folder: Path, scans: Sequence[Scan], judge: Recipe, device: torch.device, clock: Clock
) -> Scores:
    """The scores of a run's model, made only once.

    Args:
        folder: The run.
        scans: To be scored on.
        judge: Whose protocol and masks: the same for all runs of a study.
        device: Where.
        clock: Told of it.

    Raises:
        UserError: As for scoring.
    """
    kept = folder / "evaluations" / "val" / SCORES
    if not kept.is_file():
        clock.score()
        write_scores(kept, model_scores(folder, scans, judge, device))
    return read_scores(kept)


def refuse_other_settings(folder: Path, recipe: Recipe) -> None:
    """A run that is there must be of this recipe.

    Raises:
        SettingsError: It is not.
    """
    if (folder / RUN).is_file() and run_recipe(folder) != recipe:
        do = "choose another --out, or remove the run"
        raise SettingsError(folder, "a run with other settings", "this study's", do)


def _refuse_other_data(study: Study, recipe: Recipe) -> None:
    facts = {"dealias": dealias.__version__, "data": data_digest(study.data, recipe)}
    path = study.out / STUDY
    if not path.is_file():
        write_json(path, facts)
    elif json.loads(path.read_text()).get("data") != facts["data"]:
        do = "restore them, or choose another --out"
        raise DataError(study.data, "other data", "those that the study began with", do)


def data_digest(data: Path, recipe: Recipe) -> str:
    """Of what is trained and validated on.

    Raises:
        DataError: It cannot be read.
    """
    parts = [open_split(data, split) for split in (recipe.data.train, recipe.data.val)]
    text = json.dumps([manifest_of(part) for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()
