"""Whether a trial fits the memory that it is given, before anything of it is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from dealias.config.compose import stage_recipes
from dealias.config.schema import Recipe
from dealias.engine.precision import allow_tf32
from dealias.runs.plan import footprint_of
from dealias.runs.search import fastest, search
from dealias.runs.trainings import Training, trainings_in
from dealias.sizes import parse_bytes, said_memory

Warn = Callable[[str], None]


def over_budget(recipe: Recipe, data: Path, device: torch.device, warn: Warn) -> str | None:
    """Why a recipe cannot be trained within its `memory.budget`.

    Args:
        recipe: Of any number of stages.
        data: The data set.
        device: Where it would run.
        warn: Told of what cannot be kept.

    Returns:
        Such as "plan 9.1 GiB > budget 8 GiB", the plan being that of the leanest policy, of the
        first stage that does not fit. None where all do, or there is no budget.

    Raises:
        UserError: As for `plan`: the settings or the data cannot be used.
    """
    own = stage_recipes(recipe).values() if recipe.stages else (recipe,)
    if all(one.memory.budget is None for one in own):
        return None
    seen: set[str] = set()
    for one in trainings_in(recipe, data):
        if one.recipe.memory.budget is None or one.counted in seen:
            continue
        seen.add(one.counted)
        budget = parse_bytes("memory.budget", one.recipe.memory.budget)
        least = _least(one, budget, device, warn)
        if least > budget:
            text = f"plan {said_memory(least)} > budget {said_memory(budget)}"
            return f"stage {one.stage}: {text}" if one.stage else text
    return None


def _least(one: Training, budget: int, device: torch.device, warn: Warn) -> int:
    """Bytes under a policy that fits, or under the leanest."""
    if one.recipe.training.threads is not None:
        torch.set_num_threads(one.recipe.training.threads)
    allow_tf32(one.recipe.training.tf32)
    footprint = footprint_of(one.recipe, one.size, device.type, warn, one.frozen)
    needs = search(footprint, budget, lambda total: lambda done: None)
    fitting = fastest(needs, budget)
    return fitting.total if fitting is not None else min(need.total for need in needs)
