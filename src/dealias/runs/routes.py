"""Which of a recipe's trainings its one model is made of, and which scans they are for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dealias.config.schema import Recipe
from dealias.config.stages import ELSE, RULE
from dealias.inference.classifier import Classifier, load_classifier
from dealias.inference.routing import ANY, Bank, Router
from dealias.models.mixture import EnsembleSettings, ExpertsSettings

if TYPE_CHECKING:
    from dealias.runs.jobs import Job


def members(recipe: Recipe, jobs: Sequence[Job]) -> tuple[str, ...]:
    """Names of the trainings whose networks the model holds, in order."""
    if recipe.bundle is not None and recipe.bundle.ensemble:
        return recipe.bundle.ensemble
    stages = _routes(recipe).values()
    return tuple(job.name for job in jobs if job.stage in stages)


def mixture(recipe: Recipe, jobs: Sequence[Job]) -> ExpertsSettings | EnsembleSettings:
    """Settings of the model's network, where it has several; of an ensemble without weights."""
    known = {job.name: job.recipe.network for job in jobs}
    chosen = {name: known[name] for name in members(recipe, jobs)}
    if recipe.bundle is not None and recipe.bundle.ensemble:
        return EnsembleSettings(members=tuple(chosen.values()))
    return ExpertsSettings(members=dict(chosen))


def router_of(recipe: Recipe, jobs: Sequence[Job], classifier: Classifier | None) -> Router:
    """The router that a recipe asks for."""
    routes = _routes(recipe)
    return Router(
        snu_rule=_bank(routes.get(RULE), jobs),
        other=_bank(routes[ELSE], jobs),
        labels=recipe.bundle is not None and recipe.bundle.anatomy == "attrs",
        classifier=None if classifier is None else classifier.settings,
    )


def classifier_of(recipe: Recipe) -> Classifier | None:
    """The classifier that a recipe names, or None.

    Raises:
        CheckpointError: There is no such file, or it is none.
    """
    if recipe.bundle is None or recipe.bundle.anatomy in ("none", "attrs"):
        return None
    return load_classifier(Path(recipe.bundle.anatomy))


def _routes(recipe: Recipe) -> dict[str, str]:
    """Stage by rule; without a bundle all scans go to the last stage."""
    if recipe.bundle is None:
        return {ELSE: list(recipe.stages)[-1]}
    return {str(rule): stage for rule, stage in recipe.bundle.route.items()}


def _bank(stage: str | None, jobs: Sequence[Job]) -> Bank:
    return {str(job.cell or ANY): job.name for job in jobs if job.stage == stage}
