"""`dealias compare`: two results on the same slices, and whether they differ at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dealias.evaluation.compare import Comparison
    from dealias.evaluation.scores import Scores

SHOWN = 3


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("compare", rich_help_panel="Is it so")(compare)


def compare(
    first: Annotated[
        Path, typer.Argument(help="A run, a folder of reconstructions, or a score file.")
    ],
    second: Annotated[Path, typer.Argument(help="Another one, on the same volumes.")],
    data: Annotated[
        Path | None, typer.Option(help="With targets; else a run's own validation counts.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="As for `evaluate`; a run's own if not said.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N; else chosen.")] = None,
    json: Annotated[Path | None, typer.Option(help="Also write it here, slice by slice.")] = None,
) -> None:
    """Second minus first, paired by slice, with intervals over people.

    Slices of one person are alike, so volumes are drawn again, and not slices. Where the interval
    holds 0 the two are not distinguishable. How much two runs of one recipe differ by chance is
    what `dealias study noise` tells.

    Example: dealias compare runs/a runs/b --data data/leaderboard
    """
    from dealias.atomic import write_json
    from dealias.engine.device import choose_device
    from dealias.evaluation.compare import compare as run
    from dealias.runs.study.scored import scores_of

    where = choose_device(device)
    one, other = (scores_of(path, data, protocol, where) for path in (first, second))
    found = run(one, other)
    if json is not None:
        write_json(json, found.to_json())
    for line in _lines(one, other, found):
        typer.echo(line)


def _lines(one: Scores, other: Scores, found: Comparison) -> Iterator[str]:
    from dealias.cli.study_table import interval, markdown, signed, verdict
    from dealias.errors import printable

    names = "cell", "volumes", "slices", "first", "second", "difference", "95 % interval", ""
    means = {
        (a.anatomy, a.acceleration): (f"{a.mean:.4f}", f"{b.mean:.4f}")
        for a, b in zip(one.cells, other.cells, strict=True)
    }
    rows = [
        (
            f"{cell.anatomy}-x{cell.acceleration or '?'}", str(cell.volumes), str(cell.slices),
            *means[cell.anatomy, cell.acceleration], signed(cell.mean), interval(cell.ci95),
            verdict(cell.distinguishable, cell.mean),
        )
        for cell in found.cells
    ]  # fmt: skip
    volumes = sum(cell.volumes for cell in found.cells)
    totals = f"{one.total:.4f}", f"{other.total:.4f}"
    said = signed(found.total), interval(found.ci95), verdict(found.distinguishable, found.total)
    rows.append(("total", str(volumes), str(len(found.slices)), *totals, *said))
    yield from markdown(names, rows)
    for what, slices in (("lost", found.slices[:SHOWN]), ("gained", found.slices[::-1][:SHOWN])):
        shown = [f"{printable(s.name)} slice {s.z} {signed(s.gain)}" for s in slices]
        yield f"most {what}: {', '.join(shown)}"
    yield f"SSIM by {found.protocol}, second minus first; intervals over people, not slices"
