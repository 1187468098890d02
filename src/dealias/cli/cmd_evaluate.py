"""`dealias evaluate`: scores by a named protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dealias.evaluation.scores import Scores


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate", rich_help_panel="Work")(evaluate)


def evaluate(
    recon: Annotated[Path, typer.Argument(help="What `dealias reconstruct --out` wrote.")],
    data: Annotated[Path, typer.Argument(help="The same data, with targets.")],
    protocol: Annotated[str, typer.Option(help="snu2021, snu2025, snu2026, fastmri, ...")],
    anatomy: Annotated[str | None, typer.Option(help="Where the data does not say it.")] = None,
    foreground_threshold: Annotated[
        float | None, typer.Option(help="In the data's units; the protocol's name then says so.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Such as RUN/evaluations/NAME.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores here.")] = None,
) -> None:
    """Score reconstructions: cells, worst slices, interval over volumes, the protocol's total.

    Example: dealias evaluate recon data/leaderboard --protocol snu2025
    """
    from dealias.atomic import write_json
    from dealias.cli.progress import bar
    from dealias.data.catalogue import open_data
    from dealias.evaluation.evaluate import evaluate as run
    from dealias.metrics.protocol import PROTOCOLS

    chosen = PROTOCOLS[protocol]
    if foreground_threshold is not None:
        chosen = chosen.with_threshold(foreground_threshold)
    scans = open_data(data)
    with bar("evaluate", len(scans)) as advance:
        scores = run(recon, scans, chosen, anatomy, advance)
    for path in ([out / "scores.json"] if out else []) + ([json] if json else []):
        write_json(path, scores.to_json())
    show(scores)


def show(scores: Scores) -> None:
    """Print scores as a table, the worst slices, the total."""
    from rich.console import Console
    from rich.table import Table

    from dealias.cli.app import NOTICE
    from dealias.errors import printable

    table = Table(title=f"{scores.protocol}: {scores.spec}", title_justify="left")
    for column in ("cell", "volumes", "slices", "mean", "median", "95 % interval", "PSNR", "NMSE"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for cell in scores.cells:
        ends = f"{cell.ci95[0]:.4f} - {cell.ci95[1]:.4f}" if cell.ci95 else "-"
        table.add_row(
            f"{cell.anatomy} x{cell.acceleration}", str(cell.volumes), str(cell.slices),
            f"{cell.mean:.4f}", f"{cell.median:.4f}", ends,
            "-" if cell.psnr is None else f"{cell.psnr:.2f}",
            "-" if cell.nmse is None else f"{cell.nmse:.5f}",
        )  # fmt: skip
    console = Console(width=max(100, Console().width), markup=False, highlight=False)
    console.print(table)
    worst = sorted((entry for cell in scores.cells for entry in cell.worst), key=lambda e: e[2])
    for name, z, ssim in worst[:5]:
        console.print(f"worst: {printable(name)} slice {z}: {ssim:.4f}")
    console.print(f"total: {scores.total:.4f}")
    console.print(NOTICE)
