"""`dealias demo`: the whole job on simulated data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dealias.cli.app import NOTICE

if TYPE_CHECKING:
    from dealias.evaluation.scores import Scores
    from dealias.scan.scan import Scan

SUBJECTS, SLICES, COILS, SIZE, TARGET, SNR = 8, 5, 8, (192, 96), (96, 96), 25.0


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("demo", rich_help_panel="Work")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="New folder for everything.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the simulated people.")] = 430,
) -> None:
    """Simulate, check, train, reconstruct, evaluate, report: about five minutes on two cores.

    Everything is simulated; the numbers say nothing about people.

    Example: dealias demo --out demo
    """
    began = time.monotonic()
    data, run = out / "data", out / "run"
    _simulate(data, seed)
    _train(data, run)
    scores = _compare(data, run, out / "recon")
    _say(scores)
    from dealias.report.page import write_report

    typer.echo(f"report: {write_report(run)}")
    typer.echo(f"{time.monotonic() - began:.0f} s in all, on simulated data. {NOTICE}")


def _simulate(data: Path, seed: int) -> None:
    from dealias.cli.progress import bar
    from dealias.data.simulate import SimulateSettings, plan, simulate

    settings = SimulateSettings(
        subjects=SUBJECTS, slices=SLICES, coils=COILS, size=SIZE, target=TARGET, snr=SNR, seed=seed
    )
    typer.echo("1. simulate: brains and knees at X4 and X8")
    with bar("simulate", len(plan(settings))) as advance:
        simulate(settings, data, advance)


def _train(data: Path, run: Path) -> None:
    from dealias.cli.cmd_check import check
    from dealias.cli.cmd_train import train

    typer.echo("2. check")
    check(data, strict=True)
    typer.echo("3. train")
    train(["demo"], data=data, out=run, device="cpu")


def _compare(data: Path, run: Path, recon: Path) -> dict[str, Scores]:
    """Reconstruct the test people by all methods; CG-SENSE is tuned per cell on validation data."""
    import torch

    from dealias.classical.table import METHODS
    from dealias.data.catalogue import open_data, open_split
    from dealias.evaluation.tune import tune
    from dealias.inference.bundle import load_model
    from dealias.metrics.protocol import PROTOCOLS

    protocol, cpu = PROTOCOLS["snu2025"], torch.device("cpu")
    typer.echo("4. tune CG-SENSE on the validation people, per cell")
    cg_sense = METHODS["cg-sense"]
    few = _few(open_split(data, "val"))
    best = tune(cg_sense, few, lambda scan: scan.cell, protocol, cpu)
    for cell, settings in sorted(best.items(), key=str):
        typer.echo(f"   {cell}: {', '.join(f'{key} {value:g}' for key, value in settings.items())}")
    scans = open_data(data / "leaderboard")
    network = load_model(run).reconstructor
    methods: dict[str, Any] = {
        "zero-filled": lambda scan: METHODS["zero-filled"].build(),
        "cg-sense": lambda scan: cg_sense.build(**best[scan.cell]),
        "network": lambda scan: network,
    }
    typer.echo("5. reconstruct and evaluate the test people")
    return {
        name: _evaluated(name, model_of, scans, recon / name, run / "evaluations" / name)
        for name, model_of in methods.items()
    }


def _few(scans: tuple[Scan, ...]) -> tuple[Scan, ...]:
    """One validation scan of each cell is enough to choose two numbers."""
    first = {scan.cell: scan for scan in reversed(scans)}
    return tuple(first.values())


def _evaluated(
    name: str, model_of: Any, scans: tuple[Scan, ...], recon: Path, scores_folder: Path
) -> Scores:
    from dealias.atomic import write_json
    from dealias.cli.progress import bar
    from dealias.evaluation.evaluate import evaluate
    from dealias.inference.layout import output_folders
    from dealias.inference.reconstruct import reconstruct
    from dealias.io.output import write_reconstruction
    from dealias.metrics.protocol import PROTOCOLS

    with bar(name, len(scans)) as advance:
        for scan, folder in zip(scans, output_folders(scans), strict=True):
            images_ZHW = reconstruct(model_of(scan), scan).image_ZHW
            write_reconstruction(recon / folder, scan.name, images_ZHW, {"model": name})
            advance(1)
    scores = evaluate(recon, scans, PROTOCOLS["snu2025"])
    write_json(scores_folder / "scores.json", scores.to_json())
    return scores


def _say(scores: dict[str, Scores]) -> None:
    from rich.console import Console
    from rich.table import Table

    cells = [f"{cell.anatomy} x{cell.acceleration}" for cell in scores["network"].cells]
    table = Table(title="SSIM, protocol snu2025, simulated test people", title_justify="left")
    for column in ("method", *cells, "total"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, found in scores.items():
        means = [f"{cell.mean:.4f}" for cell in found.cells]
        table.add_row(name, *means, f"{found.total:.4f}")
    Console(width=max(90, Console().width), markup=False).print(table)
