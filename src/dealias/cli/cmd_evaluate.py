"""`dealias evaluate`: scores by a named protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from dealias.evaluation.scores import CellScores, Scores


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate", rich_help_panel="Work")(evaluate)


def evaluate(
    recon: Annotated[Path, typer.Argument(help="What `dealias reconstruct --out` wrote.")],
    data: Annotated[Path, typer.Argument(help="The same data, with targets.")],
    protocol: Annotated[
        str, typer.Option(help="snu2021, snu2025, snu2026, snu2026-boxes or fastmri.")
    ],
    anatomy: Annotated[
        str | None, typer.Option(help="brain or knee, where the data does not say it.")
    ] = None,
    acceleration: Annotated[
        int | None, typer.Option(min=1, help="Where it is not the data's own.")
    ] = None,
    foreground_threshold: Annotated[
        float | None, typer.Option(help="In the data's units; the protocol's name then says so.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Such as RUN/evaluations/NAME.")] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the scores here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Score reconstructions: cells, worst slices, interval over volumes, the protocol's total.

    Example: dealias evaluate recon data/leaderboard --protocol snu2025
    """
    from dealias.cli.progress import bar, warn
    from dealias.data.catalogue import open_data
    from dealias.evaluation.evaluate import evaluate as run
    from dealias.evaluation.scores import write_scores
    from dealias.metrics.protocol import protocol_named

    chosen = protocol_named(protocol)
    if foreground_threshold is not None:
        chosen = chosen.with_threshold(foreground_threshold)
    scans, said = open_data(data), list[str]()
    with bar("evaluate", len(scans), quiet) as advance:
        scores = run(
            recon, scans, chosen, anatomy, advance,
            acceleration=acceleration, warn=warn, say=said.append,
        )  # fmt: skip
    for path in ([out / "scores.json"] if out else []) + ([json] if json else []):
        write_scores(path, scores)
    show(scores, said)


def show(scores: Scores, said: Sequence[str] = ()) -> None:
    """Print scores: the cells as a table, their worst slices, the total, how it was scored.

    Args:
        scores: Of a data set.
        said: What the images tell of how they were made.
    """
    from rich.console import Console

    from dealias.cli.app import NOTICE

    console = Console(markup=False, highlight=False)
    # a pipe has no width of its own: nothing is cut
    console.width = max(100, console.width)
    console.print(_table(scores))
    rule = f"scored by {scores.protocol} [{scores.spec}]"
    for line in [*_worst(scores), *_totals(scores), *said, rule, NOTICE]:
        console.print(line, soft_wrap=True)


def _table(scores: Scores) -> Table:
    from rich.table import Table

    table = Table(title=f"SSIM by protocol {scores.protocol}", title_justify="left")
    for column in ("cell", "volumes", "slices", "mean", "median", "95 % interval", "PSNR", "NMSE"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for cell in scores.cells:
        interval = f"{cell.ci95[0]:.4f}-{cell.ci95[1]:.4f}" if cell.ci95 else "-"
        counts = str(cell.volumes), str(cell.slices)
        numbers = f"{cell.mean:.4f}", f"{cell.median:.4f}", interval
        rest = _number(cell.psnr, ".2f"), _number(cell.nmse, ".5f")
        table.add_row(_name(cell), *counts, *numbers, *rest)
    return table


def _name(cell: CellScores) -> str:
    from dealias.errors import printable

    return f"{printable(cell.anatomy)} x{cell.acceleration or '?'}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _worst(scores: Scores) -> list[str]:
    from dealias.errors import printable

    lines = []
    for cell in scores.cells:
        worst = [f"{printable(one.name)} slice {one.z} {one.ssim:.4f}" for one in cell.worst]
        lines.append(f"worst of {_name(cell)}: {', '.join(worst)}")
    return lines


def _totals(scores: Scores) -> list[str]:
    from dealias.evaluation.aggregate import by_acceleration
    from dealias.metrics.protocol import protocol_named

    aggregation = protocol_named(scores.protocol).aggregation
    lines = []
    if aggregation == "mean of accelerations":
        rates = by_acceleration(scores.volumes, aggregation)
        lines = [f"x{rate or '?'}, slices pooled: {mean:.4f}" for rate, mean in rates.items()]
    return [*lines, f"total: {scores.total:.4f} ({aggregation})"]
