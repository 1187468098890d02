"""A sweep for a person, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dealias.cli.study_table import markdown
from dealias.errors import printable
from dealias.runs.study.sweep.space import said

if TYPE_CHECKING:
    from dealias.runs.study.sweep.run import Found
    from dealias.runs.study.sweep.space import Space
    from dealias.runs.study.sweep.trial import Trial


def sweep_lines(found: Found, space: Space, out: Path) -> Iterator[str]:
    """Trials, the best first; what mattered; what to do next."""
    keys = list(space.varied)
    cells = sorted({name for trial in found.trials for name in trial.cells})
    names = "trial", *keys, "total", *cells, "epochs", ""
    yield from markdown(names, [_row(trial, keys, cells) for trial in found.trials])
    yield f"SSIM by {found.protocol} on the validation split, the best first"
    if found.importances:
        yield ""
        yield from _importance_lines(found)
    if found.left:
        yield f"{found.left} trials are left: other workers have them, or the same command goes on"
    best = found.trials[0] if found.trials else None
    if best is not None and best.total is not None:
        yield f"next: dealias report {out}/trials/{best.number:04d}"


def _row(trial: Trial, keys: Sequence[str], cells: Sequence[str]) -> list[str]:
    scores = [f"{trial.cells[name]:.4f}" if name in trial.cells else "" for name in cells]
    total = "" if trial.total is None else f"{trial.total:.4f}"
    values = [_shown(trial.values[key]) for key in keys]
    epochs = str(trial.epochs or "")
    return [str(trial.number), *values, total, *scores, epochs, printable(trial.outcome)]


def _shown(value: Any) -> str:
    """Four digits of a number that was drawn."""
    return f"{value:.4g}" if isinstance(value, float) else printable(said(value))


def _importance_lines(found: Found) -> Iterator[str]:
    names = "setting", "share of the variance", "as much by chance"
    rows = [
        (one.key, f"{one.share:.0%}", f"{one.chance:.3f}") for one in found.importances
    ]  # fmt: skip
    yield from markdown(names, rows)
    count = found.importances[0].trials
    yield f"what each setting explains alone (epsilon squared, F test), of {count} finished trials"
