"""Running a recipe's stages: finished ones are skipped, a half-done one goes on, then the model.

Each training has its own folder and its own lock, so that machines that share the run folder may
each take some of them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dealias.atomic import sha256
from dealias.config.compose import difference, recipe_from
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml
from dealias.errors import CheckpointError, DataError, SettingsError
from dealias.inference.locate import model_file
from dealias.io.weights import read_safetensors
from dealias.runs.finish import checkpoint_of
from dealias.runs.folder import SETTINGS, RunFolder, StageFolder
from dealias.runs.hooks import Hooks
from dealias.runs.jobs import Job, wanted
from dealias.runs.model import save_model
from dealias.runs.ready import refuse_other_data, refuse_other_network
from dealias.runs.tasks import others_parts
from dealias.training.checkpoint import STATE, read_checkpoint
from dealias.training.facts import manifest_of

HOW = ("workers", "save_minutes", "keep_last", "threads", "tensorboard")
"""Settings of `training` that say how a machine works, and not what it computes."""
Train = Callable[[Job, StageFolder, Hooks, Mapping[str, Tensor] | None, dict[str, Any]], None]


def run_stages(
    run: RunFolder, recipe: Recipe, jobs: Sequence[Job], device: torch.device, hooks: Hooks,
    only: str | None, train: Train,
) -> tuple[str, ...]:  # fmt: skip
    """Train what is not finished, in order, and make the model when nothing is left.

    Args:
        run: The run's folder.
        recipe: Its settings.
        jobs: All its trainings.
        device: Where an ensemble's weights are fitted.
        hooks: For progress and warnings; the time limit is of all of them together.
        only: STAGE or STAGE/CELL to train, or None for all.
        train: Trains one: the job, its folder, hooks, the weights to begin with, and what it is
            made of, to be recorded.

    Returns:
        Names of the trainings that are left for other machines or later.

    Raises:
        SettingsError: What a training begins with is not there yet.
        CheckpointError: A finished training has other settings or begun with other weights.
        DataError: Its data were others.
        Stopped: As asked.
    """
    started, chosen = time.monotonic(), wanted(jobs, only)
    for job in jobs:
        folder = job.folder_in(run)
        done = hooks.ranks.from_first(functools.partial(_settled, run, job, jobs))
        if done and job in chosen and hooks.ranks.first:
            hooks.say(f"stage {job.name}: finished, skipped")
        if done or job not in chosen:
            continue
        if hooks.ranks.first:
            run.log(f"stage {job.name}")
            hooks.say(f"stage {job.name}")
            if not job.scans[1]:
                hooks.warn(f"stage {job.name}: no scans to validate on; the last epoch is taken")
        weights = hooks.ranks.from_first(functools.partial(start_weights, run, job, jobs))
        made = hooks.ranks.from_first(functools.partial(made_of, run, job, jobs))
        train(job, folder, hooks.since(started), weights, made)
    left = hooks.ranks.from_first(lambda: unfinished(run, jobs))
    if not left and hooks.ranks.first:
        save_model(run, recipe, jobs, device, hooks.say)
        run.log("finished")
    return left


def unfinished(run: RunFolder, jobs: Sequence[Job]) -> tuple[str, ...]:
    """Names of the trainings that are not finished."""
    return tuple(job.name for job in jobs if not job.folder_in(run).finished)


def made_of(run: RunFolder, job: Job, jobs: Sequence[Job]) -> dict[str, str | None]:
    """Digests of everything that decides what a training computes."""
    start = job.settings.start
    stage = {
        "freeze": job.settings.freeze,
        "pick": job.settings.pick.removesuffix("@cell"),
        "partial": start is not None and start.partial,
    }
    file = _start_file(run, job, jobs)
    return {
        "settings": _digest([_computed(job.recipe), stage]),
        "start": None if file is None else sha256(file),
        "data": _digest([manifest_of(part) for part in job.scans]),
    }


def start_weights(run: RunFolder, job: Job, jobs: Sequence[Job]) -> dict[str, Tensor] | None:
    """The weights that a training begins with, on the CPU; None for fresh ones.

    Raises:
        SettingsError: They are of a training that is not finished.
        CheckpointError: They cannot be read.
    """
    if job.settings.start is None:
        return None
    file = _start_file(run, job, jobs)
    if file is None:
        first = job.source_in(jobs).name
        do = f"dealias train --resume {run.path} --only {first}, here or on another machine"
        raise SettingsError(f"stage '{job.name}'", f"no finished '{first}' to begin with", "", do)
    if job.source is None:
        return read_safetensors(file)[0]
    return dict(read_checkpoint(file.parent)[0].kept)


def _settled(run: RunFolder, job: Job, jobs: Sequence[Job]) -> bool:
    """Whether a training is finished, and as it is asked for now.

    Raises:
        CheckpointError: It has other settings, or begun with other weights.
        DataError: Its data were others.
    """
    folder = job.folder_in(run)
    if not folder.begun:
        return False
    facts = folder.facts()
    then, now = facts["made_of"], made_of(run, job, jobs)
    before = recipe_from(read_yaml(folder.path / SETTINGS), [], str(folder.path / SETTINGS))
    if then["data"] != now["data"]:
        refuse_other_data(folder, job.scans[0])
        do = "restore it, or start a new run"
        raise DataError(f"stage '{job.name}'", "data that changed", "those it began with", do)
    # what a training began with may not be there now; a finished one no longer needs it
    missing = job.settings.start is not None and now["start"] is None
    if then["start"] != now["start"] and not missing:
        found = "other weights to begin with than those it began with"
        raise CheckpointError(f"stage '{job.name}'", found, "", "train into a new folder")
    if not folder.finished:
        refuse_other_network(folder, before, job.recipe)
    elif then["settings"] != now["settings"]:
        changed = difference(_computed(before), _computed(job.recipe))
        found = f"finished with other settings ({changed or 'freeze, pick or start.partial'})"
        do = "give them back, or train into a new folder"
        raise CheckpointError(f"stage '{job.name}'", found, "those it was trained with", do)
    return folder.finished


def _start_file(run: RunFolder, job: Job, jobs: Sequence[Job]) -> Path | None:
    """The file with the weights to begin with; None for fresh ones, or where it is not there."""
    start, source = job.settings.start, job.source
    if start is None:
        return None
    if source is None:
        return model_file(Path(start.source))
    folder = job.source_in(jobs).folder_in(run)
    if not folder.finished:
        return None
    file = checkpoint_of(folder, source[1], lambda text: None) / STATE
    return file if file.is_file() else None


def _computed(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what is computed, up to rounding."""
    values = recipe.model_dump(mode="json", exclude={"name", "memory", *others_parts(recipe)})
    training = {key: one for key, one in values["training"].items() if key not in HOW}
    return {**values, "training": training}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
