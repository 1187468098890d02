"""`dealias check`: what is wrong with a data set, before training finds out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dealias.data.findings import Finding

REFUSED = 3


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("check", rich_help_panel="Work")(check)


def check(
    data: Annotated[Path, typer.Argument(help="A file, a folder, or a whole data set.")],
    strict: Annotated[bool, typer.Option("--strict", help="WARN counts as FAIL.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write all findings here.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show PASS lines too.")] = False,
) -> None:
    """Check shapes, coils, NaN, masks, targets, pairs and leaks between train and val.

    FAIL exits with 3; so does WARN with --strict.

    Example: dealias check data --json findings.json
    """
    from dealias.atomic import write_json
    from dealias.cli.progress import bar
    from dealias.data.findings import worst
    from dealias.data.inspect import check as run
    from dealias.data.inspect import find_files

    count = sum(file.parent.name != "image" for file in find_files(data))
    with bar("check", count) as advance:
        findings = run(data, progress=advance)
    if json is not None:
        write_json(json, [finding.to_json() for finding in findings])
    _show(findings, data, verbose)
    level = worst(findings)
    if level == "FAIL" or (strict and level == "WARN"):
        raise typer.Exit(REFUSED)
    typer.echo(f"next: dealias train varnet --data {data} --out runs/a")


def _show(findings: list[Finding], data: Path, verbose: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from dealias.errors import printable

    shown = [finding for finding in findings if verbose or finding.level != "PASS"]
    if shown:
        table = Table()
        for column in ("", "file", "item", "found", "expected", "do"):
            table.add_column(column, overflow="fold")
        for one in shown:
            file = one.file.removeprefix(f"{data}/")
            parts = (one.level, file, one.item, one.found, one.expected, one.do)
            table.add_row(*map(printable, parts))
        console = Console(width=max(110, Console().width), markup=False, highlight=False)
        console.print(table)
    counts = dict.fromkeys(("PASS", "WARN", "FAIL"), 0)
    for finding in findings:
        counts[finding.level] += 1
        if finding.file == "all":
            typer.echo(f"{finding.item}: {finding.found}")
    typer.echo(", ".join(f"{count} {level}" for level, count in counts.items()))
