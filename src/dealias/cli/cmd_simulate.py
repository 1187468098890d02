"""`dealias simulate`: a data set of the simulated scanner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("simulate", rich_help_panel="Before")(simulate)


def simulate(
    out: Annotated[Path, typer.Option(help="New folder for the data set.")],
    layout: Annotated[str, typer.Option(help="snu or fastmri.")] = "snu",
    year: Annotated[int, typer.Option(help="Of the challenge: 2022, 2024 or 2025.")] = 2025,
    subjects: Annotated[int, typer.Option(help="People per anatomy and acceleration.")] = 5,
    slices: Annotated[int, typer.Option(help="Slices of each.")] = 8,
    coils: Annotated[int | None, typer.Option(help="Coils; 4 to 20 at random.")] = None,
    size: Annotated[str | None, typer.Option(help="k-space HxW; the challenge's sizes.")] = None,
    target: Annotated[str | None, typer.Option(help="Image HxW; 384x384 or H/2 x W.")] = None,
    snr: Annotated[float, typer.Option(help="Signal over noise of one coil image.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Everything random comes from it.")] = 430,
    source: Annotated[
        list[Path] | None, typer.Option("--from", help="NIfTI heads to scan; repeat it.")
    ] = None,
) -> None:
    """Write a data set of a simulated scanner: train, val and leaderboard.

    Example: dealias simulate --subjects 8 --size 256x128 --out data
    """
    from dealias.cli.progress import bar
    from dealias.config.validate import checked
    from dealias.data.simulate import SimulateSettings, plan
    from dealias.data.simulate import simulate as run

    settings = checked(
        SimulateSettings,
        {
            "layout": layout, "year": year, "subjects": subjects, "slices": slices, "coils": coils,
            "size": _size(size), "target": _size(target), "snr": snr, "seed": seed,
            "volumes": tuple(source or ()),
        },
    )  # fmt: skip
    with bar("simulating", len(plan(settings))) as advance:
        count = run(settings, out, advance)
    typer.echo(f"{count} simulated volumes in {out}")
    typer.echo(f"next: dealias check {out}")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    from dealias.errors import SettingsError

    height, cross, width = text.partition("x")
    if not (cross and height.isdigit() and width.isdigit()):
        raise SettingsError("--size", text, "HxW", "such as 256x128")
    return int(height), int(width)
