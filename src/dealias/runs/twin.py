"""A final run's twin: trained the same without the validation data, to see where it generalises.

Team sMaRtIfy (SNU fastMRI challenge 2025) ran such a twin elsewhere, as its final runs trained on
the validation data as well and so could not tell.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dealias
from dealias.atomic import write_json
from dealias.config.compose import load_recipe, written
from dealias.config.strict import write_yaml
from dealias.errors import DataError, SettingsError
from dealias.evaluation.aggregate import weights_of
from dealias.evaluation.compare import group_of
from dealias.evaluation.saturation import Judges, Saturation, saturation
from dealias.evaluation.scores import read_scores
from dealias.inference.locate import MANIFEST
from dealias.metrics.protocol import protocol_named
from dealias.runs.folder import RunFolder, StageFolder
from dealias.runs.hooks import Hooks
from dealias.runs.ready import final_facts
from dealias.runs.train import resume
from dealias.training.facts import environment

TWIN, BRANCH = "twin", "branch.json"
FINAL, VALIDATED = "data.use_val_for_final=true", "data.use_val_for_final=false"


def beside(
    recipe_name: str, data: Path, out: Path, overrides: list[str], device: torch.device,
    hooks: Hooks,
) -> Callable[[], None]:  # fmt: skip
    """What makes RUN/twin, ready to be trained here or elsewhere, as soon as RUN is there.

    Args:
        recipe_name: A recipe's name or path.
        data: The data set.
        out: RUN.
        overrides: As for `runs.train.start`.
        device: Where it will be trained.
        hooks: For the number of ranks.

    Raises:
        SettingsError: The run validates itself.
    """
    if not final_facts(load_recipe(recipe_name, overrides)):
        found = "a run that keeps its validation data"
        do = f"add {FINAL}, or leave --twin out"
        raise SettingsError("--twin", found, "a final run, which cannot tell by itself", do)
    changed = [*(one for one in overrides if one.lstrip("+") != FINAL), VALIDATED]
    recipe = load_recipe(recipe_name, changed)
    facts: dict[str, Any] = {
        "dealias": dealias.__version__,
        "recipe": recipe.name,
        "overrides": changed,
        "data": str(data),
        "twin_of": out.name,
        "environment": environment(device, hooks.ranks.size),
        "resumed": [],
        "memory": None,
    }
    settings: dict[str, Any] = recipe.model_dump(mode="json")
    if recipe.stages:
        settings = written(recipe)

    def make() -> None:
        run = RunFolder(out)
        run.record(twin=TWIN)
        stages = {key: one for key, one in run.facts().items() if key == "stages"}
        RunFolder.create(out / TWIN, {**facts, **stages}, write_yaml(settings))

    return make


def follow(
    run: Path, data: Path | None, device: torch.device, hooks: Hooks, started: float
) -> None:
    """Train the twin of a finished run, where it has one, and mark its branch point.

    Args:
        run: The run folder.
        data: The data set, if it lies elsewhere now.
        device: Where.
        hooks: For progress and warnings.
        started: When the command began, by time.monotonic: the time limit is of both.

    Raises:
        Stopped: As asked.
        UserError: As for `runs.train.resume`.
    """
    ranks, folder = hooks.ranks, RunFolder(run / TWIN)
    if not ranks.from_first(lambda: "twin" in RunFolder(run).facts()):
        return
    say = hooks.say if ranks.first else lambda text: None
    if ranks.from_first(lambda: folder.held):
        say(f"the twin is in training elsewhere; when it ends: dealias train --resume {run}")
        return
    if not ranks.from_first(lambda: (folder.model / MANIFEST).is_file()):
        say("twin: the same without the validation data")
        resume(folder.path, data, [], device, hooks.since(started))
    if ranks.first:
        mark(run)


def mark(run: Path) -> dict[str, Saturation]:
    """Write where the twin's trainings saturate: RUN/run.json in words, RUN/twin/branch.json.

    Args:
        run: With a finished twin.

    Returns:
        By training: "main", or the stage's name.
    """
    twin = RunFolder(run / TWIN)
    stages = twin.facts().get("stages")
    folders = {"main": twin.main} if stages is None else {
        name: StageFolder(twin.path / name).main for name in stages
    }  # fmt: skip
    marks = {name: found for name, main in folders.items() if (found := branch_of(main))}
    write_json(twin.path / BRANCH, {n: dataclasses.asdict(one) for n, one in marks.items()})
    texts = {name: str(one) for name, one in marks.items()}
    RunFolder(run).record(branch_point=texts)
    for name, text in texts.items():
        RunFolder(run).log(f"branch point of {name}: {text}")
    return marks


def branch_of(main: Path) -> Saturation | None:
    """Where a training saturates, by its metrics.jsonl and scores.json; None if nothing tells."""
    if not (main / "metrics.jsonl").is_file():
        return None
    rows = [json.loads(line) for line in (main / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["kind"] == "val"]
    epochs, totals = [row["epoch"] + 1 for row in rows], [row["total"] for row in rows]
    judges = _judges(main / "scores.json")
    kept = [row.get("volumes") for row in rows]
    if judges is None or any(one is None or len(one) != len(judges.people) for one in kept):
        return saturation(epochs, totals)
    return saturation(epochs, totals, np.array(kept, dtype=np.float64), judges)


def _judges(path: Path) -> Judges | None:
    """Of a validation, by the scores of its best epoch; None where there are none."""
    try:
        scores = read_scores(path)
        aggregation = protocol_named(scores.protocol).aggregation
    except (DataError, SettingsError):
        return None
    volumes = [volume for volume in scores.volumes if volume.ssim]
    return Judges(
        tuple(map(float, weights_of(volumes, aggregation))),
        tuple(group_of(volume, aggregation) for volume in volumes),
        tuple(volume.name for volume in volumes),
    )
