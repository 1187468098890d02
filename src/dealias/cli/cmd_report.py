"""`dealias report`: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("report", rich_help_panel="Work")(report)


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, as `dealias train --out` wrote it.")],
) -> None:
    """Write RUN/report.html: scores, pictures with the worst slices first, curves, settings.

    The page is one file, opens without a network, and says how every number was scored.

    Example: dealias report runs/a
    """
    from dealias.report.page import write_report

    typer.echo(f"report: {write_report(run)}")
