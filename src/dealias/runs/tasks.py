"""What a recipe's `task` stands for: what is built, for what it is trained, on which data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel

from dealias.config.schema import Recipe
from dealias.models.network import Trainable
from dealias.models.table import build_network
from dealias.scan.measurement import Needs
from dealias.table import Table
from dealias.training.anatomy import AnatomyTask
from dealias.training.task import Task


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        name: As recipes have it.
        own: Parts of a recipe that play a part in this task alone.
        settings: Of what is trained: a training that goes on must keep them.
        build: Makes it with fresh weights.
        needs: What it asks of the data.
        task: For what it is trained; None for what a training does without being told.
    """

    name: str
    own: tuple[str, ...]
    settings: Callable[[Recipe], BaseModel]
    build: Callable[[Recipe], Trainable]
    needs: Callable[[Recipe], Needs]
    task: Callable[[Recipe], Task | None]


TASKS = Table(
    "task",
    (
        Kind(
            "reconstruction",
            ("network", "loss", "protocol"),
            settings=lambda recipe: recipe.network,
            build=lambda recipe: build_network(recipe.network),
            needs=lambda recipe: Needs(readout_crop=recipe.network.readout_crop),
            task=lambda recipe: None,
        ),
        Kind(
            "anatomy",
            ("classifier",),
            settings=lambda recipe: recipe.classifier.classifier,
            build=lambda recipe: recipe.classifier.build(),
            needs=lambda recipe: Needs(),
            task=lambda recipe: AnatomyTask(recipe.classifier),
        ),
    ),
)


def others_parts(recipe: Recipe) -> set[str]:
    """Parts of a recipe that play no part in its task."""
    own = TASKS[recipe.task].own
    return {part for kind in TASKS for part in kind.own if part not in own}
