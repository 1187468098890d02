"""`dealias models`: the networks and classical methods there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HEAD = f"{'name':21} {'parameters':>13} {'TFLOP':>7} {'inference':>10} {'training':>10}  who"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("models", rich_help_panel="Before")(models)


def models(
    json: Annotated[Path | None, typer.Option("--json", help="Write it as JSON as well.")] = None,
) -> None:
    """List networks at their published sizes, what one slice needs, and classical methods.

    Example: dealias models
    """
    from dealias.atomic import write_json
    from dealias.classical.table import METHODS
    from dealias.models.configurations import CONFIGURATIONS
    from dealias.models.sizes import model_sizes
    from dealias.sizes import said_memory

    size, needs = model_sizes()
    typer.echo(HEAD)
    for one in CONFIGURATIONS:
        need = needs[one.name]
        memory = (f"{said_memory(part):>10}" for part in (need.inference, need.training))
        typer.echo(f"{one.name:21} {one.parameters:>13,} {need.flops / 1e12:>7.2f} "
                   f"{' '.join(memory)}  {one.source}")  # fmt: skip
    for method in METHODS:
        typer.echo(f"{method.name:21} {'classical':>13}")
    typer.echo(f"\nOne slice of {size}, nothing recomputed, without the optimiser's state.")
    typer.echo("A network's settings are `network.KEY=VALUE` in a recipe.")
    typer.echo("next: dealias plan RECIPE --memory 8GiB, for your data, device and memory policies")
    if json is not None:
        write_json(json, {
            "size": size,
            "configurations": [
                {"name": one.name, "parameters": one.parameters, "source": one.source,
                 "settings": one.settings.model_dump(mode="json"), **vars(needs[one.name])}
                for one in CONFIGURATIONS
            ],
            "classical": METHODS.names,
        })  # fmt: skip
