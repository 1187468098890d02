"""The trainings that a recipe comes to, as far as a plan must know them: which, and on how much."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dealias.config.compose import stage_recipes
from dealias.config.schema import Recipe
from dealias.config.stages import StageSettings
from dealias.data.catalogue import open_split
from dealias.data.remask import MaskSettings
from dealias.runs.cells import masks_in, may_be_own
from dealias.runs.jobs import Job, planned
from dealias.runs.ready import network_without_values, scans_of
from dealias.runs.size import Size, size_of_scans
from dealias.scan.scan import Cell

ANATOMIES = ("brain", "knee")
ASSUMED = tuple(Cell(anatomy, rate) for anatomy in ANATOMIES for rate in (4, 8))
"""The cells of the challenge, where there are no data to tell them."""
_LOOP = ("batch_size", "accumulation", "average", "precision", "compile")
SizeOf = Callable[[MaskSettings], Size]


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        stage: Name of its stage; "" for a recipe without stages.
        cell: Of which it is, or None for all.
        recipe: All settings of it.
        size: Of its data.
        frozen: Patterns of the parameters that are not trained.
        assumed: Whether its cell is one that nobody looked for in data.
    """

    stage: str
    cell: Cell | None
    recipe: Recipe
    size: Size
    frozen: tuple[str, ...] = ()
    assumed: bool = False

    @property
    def counted(self) -> str:
        """All that decides what one step needs: where it is equal, one count is enough."""
        recipe, size = self.recipe, self.size
        parts: dict[str, Any] = {
            "network": {"name": recipe.network.name, **_said(recipe.network)},
            "memory": _said(recipe.memory),
            "loss": _said(recipe.loss),
            "training": {key: one for key, one in _said(recipe.training).items() if key in _LOOP},
            "optimiser": recipe.optimiser.name,
            "frozen": self.frozen,
            "size": [str(size), size.two_axes],
        }
        if recipe.task != "reconstruction":
            parts[recipe.task] = _said(recipe.classifier)
        return json.dumps(parts, sort_keys=True)


def trainings_in(recipe: Recipe, root: Path) -> list[Training]:
    """A recipe's trainings on a data set, judged as a run would judge them.

    Args:
        recipe: The recipe.
        root: The data set.

    Raises:
        UserError: See `runs.jobs.planned`.
    """
    if not recipe.stages:
        scans = scans_of(partial(open_split, root), recipe)
        needs = network_without_values(recipe).needs
        return [Training("", None, recipe, size_of_scans(*scans, needs, recipe.masks))]
    return [training_of(job) for job in planned(recipe, root)]


def training_of(job: Job) -> Training:
    """What a plan must know of a stage's training."""
    needs = network_without_values(job.recipe).needs
    size = size_of_scans(*job.scans, needs, job.recipe.masks)
    return Training(job.stage, job.cell, job.recipe, size, job.settings.freeze)


def trainings_of(recipe: Recipe, size_of: SizeOf) -> list[Training]:
    """A recipe's trainings without data: all slices are of one size, and cells are assumed.

    Args:
        recipe: The recipe.
        size_of: The size of the data under some masks, all cells together.

    Raises:
        SettingsError: A stage sets what is unknown or out of range.
    """
    if not recipe.stages:
        return [Training("", None, recipe, size_of(recipe.masks))]
    return [
        one
        for name, own in stage_recipes(recipe).items()
        for one in _of_stage(name, recipe.stages[name], own, size_of)
    ]


def _of_stage(name: str, stage: StageSettings, own: Recipe, size_of: SizeOf) -> list[Training]:
    if stage.each is None:
        return [Training(name, None, own, size_of(own.masks), stage.freeze)]
    trainings = []
    for cell in assumed_cells(own.masks):
        masks = masks_in(cell, own.masks)
        size = size_of(masks)
        # its own masks: the slices of its acceleration; drawn ones: all those of its anatomy
        share = len(ASSUMED) if may_be_own(own.masks) else len(ANATOMIES)
        slices = None if size.slices is None else math.ceil(size.slices / share)
        recipe = own.model_copy(update={"masks": masks})
        size = replace(size, slices=slices)
        trainings.append(Training(name, cell, recipe, size, stage.freeze, assumed=True))
    return trainings


def _said(settings: BaseModel) -> dict[str, Any]:
    """What is not a default: another version's new settings make no difference."""
    return settings.model_dump(mode="json", exclude_defaults=True)


def assumed_cells(masks: MaskSettings) -> tuple[Cell, ...]:
    """The cells that a stage has where no data tell them: as many slices in each."""
    if may_be_own(masks):
        return ASSUMED
    return tuple(Cell(anatomy, rate) for anatomy in ANATOMIES for rate in masks.accelerations)
