"""`dealias models`: the networks and classical methods there are."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("models", rich_help_panel="Before")(models)


def models() -> None:
    """List networks with their published size, and classical methods.

    Example: dealias models
    """
    from dealias.classical.table import METHODS
    from dealias.models.table import NETWORKS

    for entry in NETWORKS:
        typer.echo(f"{entry.name:12} {entry.parameters:>12,} parameters  {entry.paper}")
    for method in METHODS:
        typer.echo(f"{method.name:12} {'classical':>12}")
