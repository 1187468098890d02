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
    accelerations: Annotated[
        str | None, typer.Option(help="Such as 4,8; else that year's.")
    ] = None,
    subjects: Annotated[int, typer.Option(help="People per anatomy and acceleration.")] = 5,
    shares: Annotated[str, typer.Option(help="Of people: train,val,leaderboard.")] = "70,15,15",
    slices: Annotated[int, typer.Option(help="Slices of each.")] = 8,
    coils: Annotated[int | None, typer.Option(help="Coils; else 4 to 20 at random.")] = None,
    size: Annotated[
        str, typer.Option(help="k-space HxW with readout oversampling, or challenge.")
    ] = "challenge",
    target: Annotated[
        str | None, typer.Option(help="Image HxW; else 384x384, or the smaller side of --size.")
    ] = None,
    snr: Annotated[float, typer.Option(help="Mean signal over noise of one coil.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Everything random comes from it.")] = 430,
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", help="NIfTI heads to scan, one person each; repeat it."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Write a data set of a simulated scanner: train, val and leaderboard.

    The same settings and seed give the same bytes. At the challenge's size a slice takes about
    2 s and 40 MB. Simulated data prove nothing about people.

    Example: dealias simulate --subjects 8 --size 256x128 --coils 8 --out data
    """
    from dealias.cli.progress import bar
    from dealias.config.validate import checked
    from dealias.data.simulate import SimulateSettings, plan
    from dealias.data.simulate import simulate as run

    settings = checked(
        SimulateSettings,
        {
            "layout": layout, "year": year, "subjects": subjects, "slices": slices, "coils": coils,
            "accelerations": _numbers("--accelerations", accelerations, ","),
            "shares": _numbers("--shares", shares, ","),
            "size": None if size == "challenge" else _numbers("--size", size, "x"),
            "target": _numbers("--target", target, "x"),
            "snr": snr, "seed": seed, "volumes": tuple(source or ()),
        },
    )  # fmt: skip
    with bar("simulating", len(plan(settings)), quiet) as advance:
        count = run(settings, out, advance)
    typer.echo(f"{count} simulated volumes in {out}")
    typer.echo(f"next: dealias check {out}")


def _numbers(option: str, text: str | None, separator: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.lower().split(separator)
    if not all(part.strip().isdecimal() for part in parts):
        from dealias.errors import SettingsError

        expected = f"whole numbers with '{separator}' between"
        raise SettingsError(option, f"'{text}'", expected, "see dealias simulate --help")
    return tuple(int(part) for part in parts)
