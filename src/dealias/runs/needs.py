"""What the recipes need at full size on a card, as `tools/recipe_needs.py` counted it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

from dealias.config.compose import RECIPES, load_recipe
from dealias.config.schema import Recipe
from dealias.engine.ceilings import Ceilings
from dealias.runs.footprint import CONTEXT, Footprint
from dealias.runs.plan import as_overrides
from dealias.runs.size import size_of_text
from dealias.runs.trainings import Training, trainings_of

FILE = RECIPES / "needs.json"
BUDGET = 8 << 30
SHAPES = (("16x640x368", "384x384"), ("20x768x396", "384x384"))
"""The slice that plans are made for where nothing is said, and the challenge's largest brain."""
DEVICE = "cuda"
SLICES = 4651
"""Of the challenge's training set (2025), which an epoch's time is told for."""


@dataclass(frozen=True)
class StageNeed:
    """What a stage's trainings need under the recipe's own memory policy; sizes in bytes.

    Attributes:
        stage: Its name; "" for a recipe without stages.
        trainings: How many there are; with `each: cell`, in the challenge.
        epochs: Of each.
        parameters: Of its network.
        frozen: Whether a part of them is not trained.
        policy: The memory policy.
        training: Of one, for each of SHAPES, with optimiser and context.
        inference: The same of one slice.
        batches: Of an epoch of one of them, on the challenge's slices.
        training_flops: Of one batch of the first shape, forward and backward.
        training_moved: Bytes that the operations without FLOPs take and give, in such a batch.
        training_calls: Operations of it, views included.
        inference_flops: Of one slice of it.
        counted: Names the settings that it was counted with.
    """

    stage: str
    trainings: int
    epochs: int
    parameters: int
    frozen: bool
    policy: str
    training: tuple[int, ...]
    inference: tuple[int, ...]
    batches: int
    training_flops: float
    training_moved: int
    training_calls: int
    inference_flops: float
    counted: str

    @property
    def most(self) -> int:
        """Of training, for the larger of the shapes."""
        return max(self.training)

    def epoch(self, speeds: Ceilings) -> float:
        """Seconds of one epoch on a device whose kernels reach its speeds, one after the other."""
        arithmetic = self.training_flops / speeds.flops
        return self.batches * (
            arithmetic + self.training_moved / speeds.bytes + self.training_calls * speeds.call
        )

    def of(self, stage: str, trainings: tuple[Training, ...]) -> StageNeed:
        """The same of another stage, whose steps need as much."""
        epochs, batches = trainings[0].recipe.training.epochs, batches_of(trainings[0])
        return replace(self, stage=stage, trainings=len(trainings), epochs=epochs, batches=batches)

    def to_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


def count_stage(trainings: tuple[Training, ...], others: tuple[Training, ...]) -> StageNeed:
    """Count one stage, without running anything; a large network takes a minute.

    Args:
        trainings: Of the stage, for the first of SHAPES.
        others: One of them, for each of the rest.
    """
    one = trainings[0]
    policy = one.recipe.memory
    footprints = [_footprint(each) for each in (one, *others)]
    count = footprints[0].training_count(policy)
    training = [footprints[0].need(policy, count), *(each.need(policy) for each in footprints[1:])]
    inference = [each.forecast(each.inference_count(policy)) for each in footprints]
    parameters = footprints[0].network(policy).parameters()
    return StageNeed(
        one.stage, len(trainings), one.recipe.training.epochs,
        sum(weights.numel() for weights in parameters), bool(one.frozen),
        " ".join(key.removeprefix("memory.") for key in as_overrides(policy)),
        tuple(need.total for need in training), tuple(seen.peak + CONTEXT for seen in inference),
        batches_of(one), count.flops, count.moved, count.calls + count.views,
        inference[0].flops, digest(one),
    )  # fmt: skip


def batches_of(one: Training) -> int:
    """Of an epoch on the challenge's slices."""
    assert one.size.slices is not None
    return math.ceil(one.size.slices / one.recipe.training.batch_size)


def stages_at(recipe: Recipe, shape: str, target: str) -> dict[str, tuple[Training, ...]]:
    """A recipe's trainings for one shape, by stage."""
    found: dict[str, tuple[Training, ...]] = {}
    for one in trainings_of(recipe, partial(size_of_text, shape, target, SLICES)):
        found[one.stage] = (*found.get(one.stage, ()), one)
    return found


def count_recipe(name: str, counted: dict[str, StageNeed]) -> tuple[StageNeed, ...]:
    """Count a recipe by its name.

    Args:
        name: Of the recipe.
        counted: What was counted before, by its `counted`: it is not counted again.
    """
    first, *rest = (stages_at(load_recipe(name), *shape) for shape in SHAPES)
    found = []
    for stage, trainings in first.items():
        key = digest(trainings[0])
        if key not in counted:
            counted[key] = count_stage(trainings, tuple(other[stage][0] for other in rest))
        found.append(counted[key].of(stage, trainings))
    return tuple(found)


def digest(one: Training) -> str:
    """Changes with whatever decides what a training needs."""
    return hashlib.sha256(one.counted.encode()).hexdigest()[:16]


@cache
def recipe_needs() -> dict[str, tuple[StageNeed, ...]]:
    """Of each recipe, what its stages need."""
    values = json.loads(FILE.read_text())["recipes"]
    return {name: tuple(_read(one) for one in stages) for name, stages in values.items()}


def _read(values: dict[str, Any]) -> StageNeed:
    lists = {key: tuple(values[key]) for key in ("training", "inference")}
    return StageNeed(**{**values, **lists})


def _footprint(one: Training) -> Footprint:
    return Footprint(one.recipe, one.size, DEVICE, None, None, one.frozen)
