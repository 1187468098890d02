"""Which of a recipe's trainings its one model is made of, and which scans they are for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dealias.config.schema import Recipe
from dealias.config.stages import ELSE, RULE
from dealias.errors import SettingsError
from dealias.inference.classifier import Classifier, load_classifier
from dealias.inference.routing import ANY, Bank, Router
from dealias.models.mixture import EnsembleSettings, ExpertsSettings
from dealias.table import nearest

if TYPE_CHECKING:
    from dealias.runs.jobs import Job

NO_CLASSIFIER = ("none", "attrs")
"""What `bundle.anatomy` says in place of a classifier."""


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


def classifier_of(recipe: Recipe, run: Path | None = None) -> Classifier | None:
    """The classifier that a recipe names, or None.

    Args:
        recipe: A stage of it, which goes before a path of that name, or a path.
        run: With its finished stages. Without it there is none that a stage is still to train.

    Raises:
        SettingsError: There is nothing of that name.
        CheckpointError: It is no classifier.
    """
    if recipe.bundle is None or recipe.bundle.anatomy in NO_CLASSIFIER:
        return None
    named = recipe.bundle.anatomy
    if named in recipe.stages:
        return None if run is None else load_classifier(run / named)
    if not Path(named).exists():
        known = [*NO_CLASSIFIER, *recipe.stages]
        expected = f"{', '.join(known)}, or a path of a classifier"
        raise SettingsError("bundle.anatomy", f"'{named}'", expected, nearest(named, known))
    return load_classifier(Path(named))


def refuse_other_tasks(recipe: Recipe, jobs: Sequence[Job]) -> None:
    """What reconstructs must be trained to, and what tells anatomies as well.

    Raises:
        SettingsError: A stage stands where one of another task belongs.
    """
    tasks = {job.stage: job.recipe.task for job in jobs}
    for job in jobs:
        if job.cell is not None and job.recipe.task == "anatomy":
            expected = "one training on all cells, which a classifier is to tell apart"
            raise SettingsError(f"stages.{job.stage}.each", "cell", expected, "leave it out")
    if recipe.bundle is None:
        return
    bundle = recipe.bundle
    named = [(f"bundle.route.{rule}", name) for rule, name in bundle.route.items()]
    named += [(f"bundle.ensemble.{place}", name) for place, name in enumerate(bundle.ensemble)]
    wanted = [(where, name, "reconstruction") for where, name in named]
    for where, name, task in [*wanted, ("bundle.anatomy", bundle.anatomy, "anatomy")]:
        if tasks.get(name, task) != task:
            found = f"'{name}', whose task is {tasks[name]}"
            raise SettingsError(where, found, f"a stage with task={task}")


def _routes(recipe: Recipe) -> dict[str, str]:
    """Stage by rule; without a bundle all scans go to the last stage."""
    if recipe.bundle is None:
        return {ELSE: list(recipe.stages)[-1]}
    return {str(rule): stage for rule, stage in recipe.bundle.route.items()}


def _bank(stage: str | None, jobs: Sequence[Job]) -> Bank:
    return {str(job.cell or ANY): job.name for job in jobs if job.stage == stage}
