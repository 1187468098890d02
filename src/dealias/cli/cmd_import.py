"""`dealias import`: published weights as a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHOWN = 6


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("import", rich_help_panel="Models")(import_weights)


def import_weights(
    file: Annotated[Path, typer.Argument(help="A .pt, .pth, .ckpt or .safetensors file.")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[network.KEY=VALUE]...", help="Settings that weights cannot tell."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="The kind of weights, where the file's keys do not tell it; smartify-classifier "
            "is what told their experts brain from knee.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Convert weights that another project published; nothing in the file is run.

    What weights cannot tell of their network is taken as published: look at the settings.

    Example: dealias import brain_leaderboard_state_dict.pt --out models/varnet-brain

    Example: dealias import awesome_classifier.pt --as smartify-classifier --out models/classifier
    """
    from dealias.inference.importing import RECORD, import_model
    from dealias.inference.importing_classifier import KIND, holds_classifier

    if kind == KIND or (kind is None and holds_classifier(file)):
        _import_classifier(file, out, changes or [], overwrite)
        return
    found = import_model(file, out, kind, changes or (), overwrite)
    said = found.settings.model_dump(mode="json")
    typer.echo(f"{said.pop('name')}: {found.parameters:,} parameters, {found.kind.name} weights")
    typer.echo("settings: " + ", ".join(f"{key}={value}" for key, value in said.items()))
    typer.echo(f"code: {found.kind.project}; licence: {found.kind.licence}")
    for what, keys in (("not needed here", found.dropped), ("now float32", found.cast)):
        if keys:
            more = f", ... ({len(keys)} in all; see {out / RECORD})" if len(keys) > SHOWN else ""
            typer.echo(f"{what}: {', '.join(keys[:SHOWN])}{more}")
    typer.echo(f"next: dealias reconstruct {out} DATA --out DIR")


def _import_classifier(file: Path, out: Path, changes: list[str], overwrite: bool) -> None:
    """A classifier of anatomies, which makes no image."""
    from dealias.errors import SettingsError
    from dealias.inference.importing_classifier import KIND, import_classifier
    from dealias.models.published.classifier import LICENCE, PROJECT

    if changes:
        raise SettingsError(f"'{changes[0]}'", f"a setting of {KIND}", "none: it has no other")
    found = import_classifier(file, out, overwrite)
    classes = " or ".join(found.settings.classes)
    typer.echo(f"a classifier ({classes}): {found.parameters:,} parameters, {KIND} weights")
    typer.echo(f"code: {PROJECT}; licence: {LICENCE}")
    typer.echo(f"{len(found.taken)} biases went into the running means behind them")
    typer.echo(f"next: bundle.anatomy={out} in a recipe with experts")
