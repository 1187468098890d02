"""A plan for a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dealias.sizes import said_memory

if TYPE_CHECKING:
    from dealias.runs.footprint import Need
    from dealias.runs.plan import Plan

DAY = 86_400.0


def show(plan: Plan) -> None:
    """Print the plan of one training.

    Args:
        plan: The plan.
    """
    from rich.console import Console

    typer.echo(f"{plan.recipe} on {plan.device}, largest slice {plan.size}")
    console = Console(width=max(100, Console().width), markup=False, highlight=False)
    console.print(_table(plan))
    if plan.budget is not None:
        typer.echo(choice(plan))
    for name, text in _facts(plan):
        typer.echo(f"{name:10} {text}")


def show_next(plan: Plan, arguments: Sequence[str], data: Path | None) -> None:
    """Print what to type.

    Args:
        plan: Of the recipe's one training.
        arguments: Recipe and overrides as they were given.
        data: The data set, or None.
    """
    if plan.chosen is not None:
        chosen = plan.overrides if plan.budget is not None else []
        typer.echo(next_line([*arguments, *chosen], data))


def next_line(arguments: Sequence[str], data: Path | None) -> str:
    """The command that trains."""
    where = str(data) if data is not None else "DATA"
    more = " ".join(arguments[1:])
    return f"next: dealias train {arguments[0]} --data {where} --out runs/a {more}".rstrip()


def said_time(seconds: float) -> str:
    """Seconds for a person: "2.17 s", "45 min", "19.5 h", "40.6 days"."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / DAY:.3g} days"


def said_policy(plan: Plan, need: Need) -> str:
    """A policy as its settings, without their group."""
    from dealias.runs.plan import as_overrides

    sizes = plan.overrides if need is plan.chosen and plan.smaller else as_overrides(need.policy)
    return " ".join(one.removeprefix("memory.") for one in sizes)


def basis(plan: Plan) -> str:
    """Where a plan's figures come from."""
    if plan.here:
        text = "counted without running the network; buffers and times of its operations measured"
        return f"{text} here, one by one; reading and scoring are not in the times"
    return (
        f"no {plan.device} here: each convolution is given a copy of all it sees as its buffer; "
        "512 MiB are set aside for CUDA itself"
    )


def choice(plan: Plan) -> str:
    """What was chosen for a budget."""
    budget = said_memory(plan.budget or 0)
    if plan.chosen is None:
        return f"nothing fits {budget}: not even the smallest network of this kind"
    why = "the largest network that fits" if plan.smaller else "the fastest that fits"
    return f"{why} {budget}: {' '.join(plan.overrides)}"


def _table(plan: Plan) -> object:
    from rich.table import Table

    from dealias.runs.plan import as_overrides

    table = Table()
    for column in ("memory policy", "peak", "with optimiser", "time", "fits"):
        table.add_column(column, justify="left" if column == "memory policy" else "right")
    for need in plan.needs:
        fits = "" if plan.budget is None else "yes" if need.total <= plan.budget else "no"
        chosen = " <" if need is plan.chosen and plan.budget is not None else ""
        policy = " ".join(one.removeprefix("memory.") for one in as_overrides(need.policy))
        sizes = said_memory(need.training.peak), said_memory(need.total)
        table.add_row(policy, *sizes, _extra(need, plan.needs[0]), fits + chosen)
    return table


def _extra(need: Need, plain: Need) -> str:
    if need.seconds is None or plain.seconds is None:
        return f"{need.training.flops / plain.training.flops - 1:+.0%} FLOPs"
    if need is plain:
        return said_time(need.seconds)
    return f"{need.seconds / plain.seconds - 1:+.0%}"


def _facts(plan: Plan) -> list[tuple[str, str]]:
    need = plan.shown
    work, seen = need.training, plan.inference
    names = ("weights", "gradients", "inputs", "activations", "transients")
    parts = ", ".join(f"{name} {said_memory(getattr(work, name))}" for name in names)
    apart = [("optimiser", need.optimiser), ("average", need.average), ("context", need.context)]
    more = ", ".join(f"{name} {said_memory(size)}" for name, size in apart if size)
    rows = [
        ("training", f"{said_memory(work.peak)}: {parts}"),
        ("apart", f"{more}; {said_memory(need.total)} in all"),
        ("inference", f"{said_memory(seen.peak)}, {seen.flops / 1e12:.3g} TFLOP a slice"),
        ("work", f"{work.flops / 1e12:.3g} TFLOP, {work.bytes / 1e9:.3g} GB moved, "
                 f"{work.calls:,} operations a batch"),
    ]  # fmt: skip
    return rows + _times(plan)


def _times(plan: Plan) -> list[tuple[str, str]]:
    schedule = plan.schedule
    if schedule.step is None or schedule.slice is None:
        return [("time", "unknown: run dealias doctor, then plan, on the machine that has it")]
    text = f"{said_time(schedule.step)} a step, {said_time(schedule.slice)} a slice reconstructed"
    rows = [("time", text)]
    if schedule.epoch is None or schedule.total is None:
        return rows
    rows.append(("", f"{said_time(schedule.epoch)} an epoch of {schedule.steps:,} steps, "
                     f"{said_time(schedule.total)} for {schedule.epochs} epochs"))  # fmt: skip
    return rows
