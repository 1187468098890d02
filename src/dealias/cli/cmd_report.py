"""`dealias report`: one HTML page about a run, or about what a model does inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("report", rich_help_panel="Work")(report)


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run folder, as `dealias train --out` wrote it, or a stage's in it; with --data "
            "and --out also a model folder, a .safetensors file, or a classical method's name."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Look inside the model: the data set as it was trained on, whose validation split "
            "is looked at; for a model without a run any data with targets."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report of a model without a run.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; else chosen.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Write RUN/report.html: scores, pictures with the worst slices first, curves, settings.

    The page is one file, opens without a network, and says how every number was scored.

    With --data it also shows, for one slice of each cell, the mask's point-spread function,
    sensitivity maps, the image after each cascade and the effective receptive field; each cell's
    median and worst slice; and what image augmentation does. RUN/analysis keeps it, and later
    reports show it without --data.

    Example: dealias report runs/a

    Example: dealias report runs/a --data data

    Example: dealias report model.safetensors --data data/val --out looks/model
    """
    from dealias.report.page import write_report

    if data is None:
        _refuse_out(out)
        typer.echo(f"report: {write_report(run)}")
        return
    folder = _folder(run, out)
    _look_inside(run, data, folder, device, quiet)
    typer.echo(f"report: {write_report(folder)}")


def _look_inside(run: Path, data: Path, folder: Path, device: str | None, quiet: bool) -> None:
    from dealias.cli.progress import bar
    from dealias.engine.device import choose_device
    from dealias.runs.analysis import examine, subject_of

    where = choose_device(device)
    subject = subject_of(run, data, where)
    with bar("look inside", subject.steps, quiet) as advance:
        examine(subject, folder, where, advance)


def _folder(run: Path, out: Path | None) -> Path:
    """Where the report goes.

    Raises:
        SettingsError: --out for a run, or none for another model.
        DataError: A file of the run is damaged.
    """
    from dealias.errors import SettingsError
    from dealias.report.read import read_run

    if (run / "run.json").is_file():
        if out is not None:
            raise SettingsError("--out", "a run, which keeps its own report", "", "leave it out")
        read_run(run)  # what is damaged is said before the long work
        return run
    if out is None:
        expected = "a folder for the report, as the model is no run"
        raise SettingsError(
            "--out", "nothing", expected, f"dealias report {run} --data DATA --out DIR"
        )
    if (out / "run.json").is_file():
        raise SettingsError("--out", f"a run in {out}", "another folder", "")
    return out


def _refuse_out(out: Path | None) -> None:
    from dealias.errors import SettingsError

    if out is not None:
        do = "add --data DATA: without it a run's own folder is all there is to report on"
        raise SettingsError("--out", "no --data", "both", do)
