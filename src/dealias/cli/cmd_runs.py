"""`dealias runs`: all runs below a folder, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("runs", rich_help_panel="Is it so")(runs)


def runs(
    folder: Annotated[Path, typer.Argument(help="With runs at any depth.")] = Path("runs"),
    json: Annotated[Path | None, typer.Option(help="Also write it here, uncut.")] = None,
) -> None:
    """List every run: where it came from, what was changed and why, its scores, how it ended.

    What failed or was stopped stays, with its reason. A run is judged beside the run that it began
    from, or its recipe as it is; what chance alone gives is known where `dealias study noise` of
    the recipe lies below the folder as well.

    Example: dealias runs runs

    Example: dealias runs studies/sweep --json runs.json
    """
    from dealias.atomic import write_json
    from dealias.cli.runs_table import runs_lines
    from dealias.errors import SettingsError
    from dealias.runs.log import read_log
    from dealias.runs.log_verdict import judged

    if not folder.is_dir():
        raise SettingsError("FOLDER", f"'{folder}', which is no folder", "one with runs")
    entries = judged(read_log(folder))
    if not entries:
        do = "dealias train RECIPE --data DATA --out RUN makes one"
        raise SettingsError("FOLDER", f"no run below '{folder}'", "at least one", do)
    if json is not None:
        write_json(json, {"runs": [entry.to_json() for entry in entries]})
    for line in runs_lines(entries):
        typer.echo(line)
