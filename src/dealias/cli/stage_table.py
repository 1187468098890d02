"""A plan of a recipe with stages, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dealias.cli.plan_table import choice, said_policy, said_time
from dealias.sizes import said_memory

if TYPE_CHECKING:
    from dealias.runs.plan_stages import StagePlan, WholePlan


def show_stages(whole: WholePlan) -> None:
    """Print a row for each stage, and what they come to.

    Args:
        whole: The plan.
    """
    from rich.console import Console

    plan = whole.largest
    typer.echo(f"{whole.recipe} on {plan.device}, largest slice {plan.size}")
    console = Console(width=max(130, Console().width), markup=False, highlight=False)
    console.print(_table(whole.stages))
    if any(one.assumed for stage in whole.stages for one in stage.trainings):
        typer.echo("cells are assumed: brain and knee, as many slices in each; --data tells them")
    for stage in whole.stages:
        if not stage.largest.fits:
            typer.echo(f"stage {stage.name}: {choice(stage.largest)}")
    total = "unknown" if whole.seconds is None else said_time(whole.seconds)
    trainings = sum(len(stage.trainings) for stage in whole.stages)
    typer.echo(f"{'memory':10} {said_memory(plan.shown.total)} at most")
    typer.echo(f"{'time':10} {total}, all {trainings} trainings one after another")


def _table(stages: Sequence[StagePlan]) -> object:
    from rich.table import Table

    table = Table()
    for column in ("stage", "trainings", "epochs", "memory policy", "peak", "with optimiser",
                   "inference", "time", "fits"):  # fmt: skip
        left = column in ("stage", "memory policy")
        table.add_column(column, justify="left" if left else "right", no_wrap=column == "stage")
    for stage in stages:
        table.add_row(*_row(stage))
    return table


def _row(stage: StagePlan) -> tuple[str, ...]:
    plan = stage.largest
    need, first = plan.shown, stage.trainings[0]
    frozen = ", part frozen" if first.frozen else ""
    time = "unknown" if stage.seconds is None else said_time(stage.seconds)
    fits = "" if plan.budget is None else "yes" if all(one.fits for one in stage.plans) else "no"
    count = str(len(stage.trainings)) + (" assumed" if first.assumed else "")
    return (
        f"{stage.name}{frozen}", count, str(first.recipe.training.epochs), said_policy(plan, need),
        said_memory(need.training.peak), said_memory(need.total), said_memory(plan.inference.peak),
        time, fits,
    )  # fmt: skip
