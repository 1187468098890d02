"""`dealias export`: one file a colleague can load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("export", rich_help_panel="Models")(export)


def export(
    run: Annotated[str, typer.Argument(help="A run folder, a model folder, or a model file.")],
    out: Annotated[Path, typer.Option("--out", help="The .safetensors file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the trained network as one safetensors file, which loads back bit-equal.

    Example: dealias export runs/a --out varnet.safetensors
    """
    from dealias.inference.export import export_model

    header = export_model(Path(run), out, overwrite)
    typer.echo(f"{header['network']}: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"next: dealias reconstruct {out} DATA --out DIR")
