"""The trainings that a recipe's stages come to, all of them judged before the first begins."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dealias.config.compose import stage_recipes
from dealias.config.schema import Recipe
from dealias.config.stages import StageSettings
from dealias.data.catalogue import open_split
from dealias.errors import SettingsError
from dealias.inference.locate import model_file
from dealias.io.weights import read_safetensors
from dealias.models.table import build_network
from dealias.runs.beginning import Fit, freeze, refuse_misfit
from dealias.runs.cells import cells_of, masks_in, trained_in, validated_in
from dealias.runs.folder import RunFolder, StageFolder
from dealias.runs.ready import (
    Split,
    network_without_values,
    refuse_judging_final,
    refuse_overlap,
    refuse_policy,
    refuse_unvalidated,
    scans_of,
)
from dealias.runs.routes import classifier_of, members, mixture, refuse_other_tasks
from dealias.scan.scan import Cell
from dealias.table import nearest


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        stage: Name of its stage.
        settings: Of the stage.
        recipe: All settings of the training.
        scans: For training and for validation.
        cell: Which they are of, or None for all.
    """

    stage: str
    settings: StageSettings
    recipe: Recipe
    scans: tuple[Split, Split]
    cell: Cell | None = None

    @property
    def name(self) -> str:
        """STAGE or STAGE/CELL: its folder below the run, and its expert's name."""
        return self.stage if self.cell is None else f"{self.stage}/{self.cell}"

    @property
    def source(self) -> tuple[str, str] | None:
        """The training whose weights it begins with, and which of its checkpoints; else None."""
        start = self.settings.start
        if start is None or start.stage is None:
            return None
        return start.stage

    def folder_in(self, run: RunFolder) -> StageFolder:
        """RUN/STAGE, or RUN/STAGE/CELL."""
        return StageFolder(run.path / self.name)

    def source_in(self, jobs: Sequence[Job]) -> Job:
        """The training itself: of the same cell, where its stage has one for each.

        Raises:
            SettingsError: There is none of this cell.
        """
        stage = self.source[0] if self.source is not None else ""
        for job in jobs:
            if job.stage == stage and job.cell in (None, self.cell):
                return job
        found = f"no training of '{stage}' for {self.cell}"
        raise SettingsError(f"stages.{self.stage}.start", found, "one of the same cell", "")


def planned(recipe: Recipe, root: Path) -> tuple[Job, ...]:
    """All trainings of a recipe with stages, in order.

    Args:
        recipe: With stages.
        root: The data set.

    Raises:
        SettingsError: A stage's settings, policy, start, pattern or route cannot work.
        CheckpointError: A stage begins with weights that do not fit its network.
        DataError: A scan cannot be used, or is in training and validation.
    """
    recipes = stage_recipes(recipe)
    refuse_judging_final(recipe, recipes)
    for name, own in recipes.items():
        refuse_policy(own)
        _refuse_beginning(name, recipe, recipes)
    read = functools.cache(functools.partial(open_split, root))
    jobs: list[Job] = []
    for name, own in recipes.items():
        scans = scans_of(read, own)
        refuse_overlap(*scans)
        jobs += _of_stage(name, recipe.stages[name], own, scans)
    for job in jobs:
        refuse_unvalidated(job.recipe, job.scans[1])
        if job.source is not None:
            job.source_in(jobs)
    _refuse_bundle(recipe, jobs)
    return tuple(jobs)


def wanted(jobs: Sequence[Job], only: str | None) -> tuple[Job, ...]:
    """The trainings that `--only STAGE` or `--only STAGE/CELL` names; all without it.

    Raises:
        SettingsError: It names none.
    """
    chosen = tuple(job for job in jobs if only in (None, job.stage, job.name))
    if not chosen:
        known = [job.name for job in jobs]
        raise SettingsError("--only", f"'{only}'", f"one of {', '.join(known)}",
                            nearest(str(only), known))  # fmt: skip
    return chosen


def _of_stage(
    name: str, stage: StageSettings, recipe: Recipe, scans: tuple[Split, Split]
) -> list[Job]:
    if stage.each is None:
        return [Job(name, stage, recipe, scans)]
    return [
        Job(
            name,
            stage,
            recipe.model_copy(update={"masks": masks_in(cell, recipe.masks)}),
            (trained_in(cell, scans[0], recipe.masks), validated_in(cell, scans[1])),
            cell,
        )
        for cell in cells_of(scans[0], recipe.masks)
    ]


def _refuse_beginning(name: str, recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """What a stage begins with must fit its network, and its patterns some parameter."""
    stage, where = recipe.stages[name], f"stages.{name}"
    network = network_without_values(recipes[name])
    if stage.start is not None:
        weights: Mapping[str, Tensor]
        if stage.start.stage is not None:
            weights = network_without_values(recipes[stage.start.stage[0]]).state_dict()
        else:
            weights = read_safetensors(model_file(Path(stage.start.source)))[0]
        fit = Fit.of(weights, network.state_dict())
        refuse_misfit(f"{where}.start", fit, stage.start.partial)
    freeze(network, stage.freeze, f"{where}.freeze")


def _refuse_bundle(recipe: Recipe, jobs: Sequence[Job]) -> None:
    """The networks of one model must ask for data that can be one measurement."""
    refuse_other_tasks(recipe, jobs)
    if len(members(recipe, jobs)) > 1:
        with torch.device("meta"):
            build_network(mixture(recipe, jobs))
    classifier_of(recipe)
