"""`dealias cache`: a fast copy of a data set on this machine's disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dealias.data.cache import Plan
    from dealias.data.keep import Keep


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("cache", rich_help_panel="Before")(cache)


def cache(
    data: Annotated[Path, typer.Argument(help="A file, a folder, or a whole data set.")],
    out: Annotated[Path, typer.Option(help="Folder for the cache, best on a local disk.")],
    margin: Annotated[
        str | None,
        typer.Option(
            help="Readout rows kept beyond the target on each side (16 if not given), or all. It "
            "must be at least the recipe's network.readout_crop."
        ),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Keep so many rows, in place of --margin.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Refuse to write more than this, such as 200GB.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Also write what was done here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Transform and crop the readout of every slice once, for training that does not wait for data.

    Train, reconstruct and evaluate with CACHE in place of DATA; on the CPU every bit is the same.
    If it is interrupted, run it again: finished volumes stay.

    Example: dealias cache data --out /scratch/cache --limit 200GB

    Example: dealias train varnet --data /scratch/cache --out runs/a
    """
    from dealias.cli.progress import bar
    from dealias.data.cache import make_cache, plan_cache
    from dealias.sizes import parse_bytes, said_bytes

    keep = _keep(margin, rows)
    most = parse_bytes("--limit", limit) if limit is not None else None
    plan = plan_cache(data, keep)
    with bar("caching", plan.slices, quiet) as advance:
        manifest = make_cache(plan, out, limit=most, workers=workers, progress=advance)
    facts = _facts(plan, sum(volume.bytes for volume in manifest.volumes))
    if json is not None:
        from dealias.atomic import write_json

        write_json(json, facts)
    typer.echo(
        f"{facts['volumes']} volumes, {facts['slices']} slices in {out}: "
        f"{said_bytes(facts['bytes'])} with targets, for {said_bytes(facts['kspace_bytes'])} of "
        f"k-space ({facts['rows']})"
    )
    typer.echo(f"next: dealias train varnet --data {out} --out runs/a")


def _keep(margin: str | None, rows: int | None) -> Keep:
    from dealias.data.keep import MARGIN, Keep
    from dealias.errors import SettingsError

    if margin is None:
        return Keep(MARGIN, rows)
    if rows is not None:
        raise SettingsError("--rows", "--margin too", "one of the two", "leave one out")
    if margin == "all":
        return Keep("all")
    if not (margin.isdecimal() and len(margin) <= 6):
        raise SettingsError("--margin", f"'{margin}'", "a number of rows, or all")
    return Keep(int(margin))


def _facts(plan: Plan, stored: int) -> dict[str, Any]:
    return {
        "volumes": len(plan.jobs),
        "slices": plan.slices,
        "bytes": stored,
        "kspace_bytes": plan.whole,
        "rows": str(plan.keep),
    }
