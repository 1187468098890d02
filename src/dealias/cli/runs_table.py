"""The log of runs for a person, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dealias.cli.study_table import markdown
from dealias.errors import printable

if TYPE_CHECKING:
    from dealias.runs.log import Entry

_DRAWN = re.compile(r"\d+\.\d{5,}(?:e[-+]?\d+)?")
"""Numbers that nobody typed."""
LONGEST = 80
"""Of a cell; `--json` has all of it."""


def runs_lines(entries: Sequence[Entry]) -> Iterator[str]:
    """A row for each run: what it was, its scores, what became of it."""
    cells = sorted({name for entry in entries for name in entry.cells})
    scored = ("total", *cells, "verdict") if cells else ()
    rows = [_row(entry, cells) for entry in entries]
    names = ("run", "from", "changed", "note", *scored, "state")
    empty = {i for i in range(len(names)) if not any(row[i] for row in rows)}
    used = [i for i, name in enumerate(names) if not (i in empty and name in ("note", "verdict"))]
    yield from markdown([names[i] for i in used], [[row[i] for i in used] for row in rows])
    protocols = sorted({entry.scores.protocol for entry in entries if entry.scores is not None})
    if protocols:
        yield f"SSIM by {' and '.join(protocols)}, of each run's best validation"


def _row(entry: Entry, cells: Sequence[str]) -> list[str]:
    own = entry.cells
    total = "" if entry.scores is None else f"{entry.scores.total:.4f}"
    scored = [total, *(f"{own[name]:.4f}" if name in own else "" for name in cells), entry.verdict]
    state = f"{entry.state}: {entry.reason}" if entry.reason else entry.state
    changes = _DRAWN.sub(lambda found: f"{float(found[0]):.4g}", ", ".join(entry.changes))
    before = [entry.name, entry.parent or f"recipe {entry.recipe}", changes]
    return [*map(_short, [*before, entry.note]), *(scored if cells else []), _cell(state)]


def _short(text: str) -> str:
    text = _cell(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _cell(text: str) -> str:
    """What comes from files can neither move the cursor nor break the table."""
    return printable(text).replace("|", "\\|")
