"""`dealias plan`: what a recipe will need, before it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dealias.config.schema import Recipe
    from dealias.runs.size import Size

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
    data: Annotated[Path | None, typer.Option(help="Data set with train and val.")] = None,
    shape: Annotated[str | None, typer.Option(help="Instead: coils x readout x phase.")] = None,
    target: Annotated[str | None, typer.Option(help="Rows x columns that are scored.")] = None,
    slices: Annotated[int | None, typer.Option(help="To train on, with --shape.", min=1)] = None,
    json: Annotated[Path | None, typer.Option(help="Write the plan here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Memory and time of a recipe, and the fastest memory policy that fits, without running it.

    Without --data or --shape a slice is 16x640x368 with a target of 384x384.

    Example: dealias plan varnet --memory 8GiB --days 20 --data data

    Example: dealias plan varnet --memory 8GiB --shape 16x640x368 --target 384x384 --slices 4651
    """
    from dealias.atomic import write_json
    from dealias.cli.plan_table import show
    from dealias.cli.progress import warn
    from dealias.config.compose import load_recipe
    from dealias.engine.device import choose_device
    from dealias.errors import SettingsError
    from dealias.runs.plan import make_plan
    from dealias.sizes import parse_bytes

    recipe = load_recipe(arguments[0], arguments[1:])
    if device not in (None, "cpu", "cuda"):
        raise SettingsError("--device", f"'{device}'", "cpu or cuda")
    text, option = (memory, "--memory") if memory else (recipe.memory.budget, "memory.budget")
    budget = parse_bytes(option, text) if text else None
    size = _size(recipe, data, shape, target, slices)
    if days is not None and size.slices is None:
        raise SettingsError("--days", "no number of slices", "--data, or --slices with --shape")
    with _progress(quiet) as begin:
        found = make_plan(recipe, size, device or choose_device().type, budget, begin, warn)
    if json is not None:
        write_json(json, found.to_json())
    show(found, days, arguments, data)


def _size(
    recipe: Recipe, data: Path | None, shape: str | None, target: str | None, slices: int | None
) -> Size:
    from dealias.data.catalogue import open_split
    from dealias.errors import SettingsError
    from dealias.models.table import build_network
    from dealias.runs.size import size_of_scans, size_of_text

    if data is None:
        shape, target = (shape, target) if shape is not None else USUAL
        return size_of_text(shape, target, slices, recipe.masks)
    if shape is not None or target is not None or slices is not None:
        raise SettingsError("plan", "--shape, --target or --slices with --data", "--data alone")
    import torch

    with torch.device("meta"):
        needs = build_network(recipe.network).needs
    train, val = open_split(data, recipe.data.train), open_split(data, recipe.data.val)
    return size_of_scans(train, val, needs, recipe.masks)


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
