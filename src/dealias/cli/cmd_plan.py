"""`dealias plan`: what a recipe will need, before it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dealias.runs.deadline import RESERVE

if TYPE_CHECKING:
    from dealias.config.schema import Recipe
    from dealias.runs.deadline import Deadline
    from dealias.runs.plan_stages import WholePlan, Within
    from dealias.runs.trainings import SizeOf, Training

USUAL = "16x640x368", "384x384"
"""Shape and target of a slice where neither data nor a shape is given."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("plan", rich_help_panel="Before")(plan)


def plan(
    arguments: Annotated[
        list[str], typer.Argument(metavar="RECIPE [KEY=VALUE ...]", help="See `recipes`.")
    ],
    memory: Annotated[str | None, typer.Option(help="Memory there is, e.g. 8GiB.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda, also if it is not here.")] = None,
    days: Annotated[float | None, typer.Option(help="Time there is.", min=0.0)] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Be done by: 2026-08-14 or 2026-08-14T18:00.")
    ] = None,
    reserve: Annotated[
        float, typer.Option(help="Of the time, on top for --deadline.", min=0.0)
    ] = RESERVE,
    data: Annotated[Path | None, typer.Option(help="Data set with train and val.")] = None,
    shape: Annotated[str | None, typer.Option(help="Instead: coils x readout x phase.")] = None,
    target: Annotated[str | None, typer.Option(help="Rows x columns that are scored.")] = None,
    slices: Annotated[int | None, typer.Option(help="To train on, without --data.", min=1)] = None,
    json: Annotated[Path | None, typer.Option(help="Write the plan here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Memory and time of a recipe, and the fastest memory policy that fits, without running it.

    Of a recipe with stages each stage is planned, and their sum. Without --data or --shape a slice
    is 16x640x368 with a target of 384x384.

    Example: dealias plan varnet --memory 8GiB --days 20 --data data

    Example: dealias plan varnet --memory 8GiB --shape 16x640x368 --target 384x384 --slices 4651

    Example: dealias plan smartify_hacker --memory 8GiB --data data --deadline 2026-08-14T18:00
    """
    from dealias.atomic import write_json
    from dealias.cli.progress import warn
    from dealias.config.compose import load_recipe
    from dealias.engine.device import choose_device
    from dealias.errors import SettingsError
    from dealias.runs.deadline import deadline_of
    from dealias.runs.plan_stages import make_whole_plan, refuse_without_slices, within
    from dealias.sizes import parse_bytes

    recipe = load_recipe(arguments[0], arguments[1:])
    if device not in (None, "cpu", "cuda"):
        raise SettingsError("--device", f"'{device}'", "cpu or cuda")
    budget = parse_bytes("--memory", memory) if memory else None
    due = deadline_of("--deadline", deadline) if deadline is not None else None
    trainings = _trainings(recipe, data, shape, target, slices)
    for option, asked in (("--days", days), ("--deadline", due)):
        if asked is not None:
            refuse_without_slices(option, trainings)
    with _progress(quiet) as begin:
        whole = make_whole_plan(trainings, device or choose_device().type, budget, begin, warn)
        some = within(whole, days, begin, warn) if days is not None else None
    until = _deadline(whole, due, reserve) if due is not None else None
    if json is not None:
        write_json(json, _written(whole, some, until))
    _show(whole)
    lines = _time_lines(whole, days, some, due is not None, until)
    for name, text in [*lines, *_maps(trainings)]:
        typer.echo(f"{name:10} {text}")
    _show_end(whole, arguments, data, memory)


def _trainings(
    recipe: Recipe, data: Path | None, shape: str | None, target: str | None, slices: int | None
) -> list[Training]:
    from dealias.errors import SettingsError
    from dealias.runs.trainings import trainings_in, trainings_of

    if data is None:
        return trainings_of(recipe, _size_of(shape, target, slices))
    if shape is not None or target is not None or slices is not None:
        raise SettingsError("plan", "--shape, --target or --slices with --data", "--data alone")
    return trainings_in(recipe, data)


def _size_of(shape: str | None, target: str | None, slices: int | None) -> SizeOf:
    from dealias.runs.size import size_of_text

    if shape is None:
        shape, target = USUAL
    return lambda masks: size_of_text(shape, target, slices, masks)


def _deadline(whole: WholePlan, due: Any, reserve: float) -> Deadline | None:
    import datetime

    from dealias.runs.deadline import Deadline

    if whole.seconds is None:
        return None
    now = datetime.datetime.now(datetime.UTC)
    return Deadline(due, whole.seconds + whole.evaluation, reserve, now)


def _written(whole: WholePlan, some: Within | None, until: Deadline | None) -> dict[str, Any]:
    asked = {"days": some, "deadline": until}
    found = {key: one.to_json() for key, one in asked.items() if one is not None}
    return {**whole.to_json(), **found}


def _show(whole: WholePlan) -> None:
    from dealias.cli.plan_table import show
    from dealias.cli.stage_table import show_stages

    if whole.stages[0].name:
        show_stages(whole)
    else:
        show(whole.stages[0].plans[0])


def _show_end(
    whole: WholePlan, arguments: Sequence[str], data: Path | None, memory: str | None
) -> None:
    from dealias.cli.plan_table import basis, next_line, show_next

    typer.echo(basis(whole.largest))
    if not whole.stages[0].name:
        show_next(whole.stages[0].plans[0], arguments, data)
    elif whole.fits:
        # each stage chooses its own policy when its turn comes
        chosen = [f"memory.budget={memory}"] if memory else []
        typer.echo(next_line([*arguments, *chosen], data))


def _time_lines(
    whole: WholePlan, days: float | None, some: Within | None, asked: bool, until: Deadline | None
) -> list[tuple[str, str]]:
    from dealias.cli.plan_time import said_days, said_deadline

    lines = [("days", said_days(some))] if days is not None else []
    if asked:
        first = whole.stages[0]
        epochs = None if first.name else first.plans[0].schedule.epochs
        head, *rest = said_deadline(until, epochs)
        lines += [("deadline", head), *(("", one) for one in rest)]
    return lines


def _maps(trainings: Sequence[Training]) -> list[tuple[str, str]]:
    """What networks ask for that no count sees: a line for each kind."""
    from dealias.cli.plan_time import said_maps
    from dealias.cli.progress import warn
    from dealias.runs.preparation import preparation
    from dealias.runs.ready import network_without_values

    lines = {}
    for one in trainings:
        needs = network_without_values(one.recipe).needs
        found = preparation(needs, one.size, one.recipe.training.workers, warn)
        if found is not None:
            lines["maps"] = said_maps(found)
        if needs.priors:
            lines["priors"] = (
                f"{', '.join(needs.priors)}: made where the data do not hold them, in no time above"
            )
    return list(lines.items())


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar for each round of measuring, and a line that says what takes so long."""
    from dealias.cli.progress import bar

    with contextlib.ExitStack() as stack:

        def begin(total: int) -> Callable[[int], None]:
            stack.close()
            if not quiet:
                text = f"measuring {total} operations on this device, once for all plans"
                typer.echo(text, err=True)
            return stack.enter_context(bar("measure", total, quiet))

        yield begin
