"""The report: one HTML file that needs nothing else and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import dealias
from dealias.atomic import write_bytes
from dealias.errors import printable
from dealias.report.compare import compared
from dealias.report.figures import curves, panels
from dealias.report.inside import augmentation_views, cell_views, error_views
from dealias.report.read import RunRecord, read_run

_HERE = Path(__file__).parent


def write_report(run: Path) -> Path:
    """Write RUN/report.html, and that of each stage that has begun.

    Args:
        run: A run folder, or that of one of its stages.

    Returns:
        Path of the run's report.

    Raises:
        DataError: It is no run folder, or a file in it is damaged.
        DiskError: It cannot be written.
    """
    target = run / "report.html"
    record = read_run(run)
    write_bytes(target, render(record).encode())
    for stage in record.stages:
        if stage["report"] is not None:
            write_bytes(run / stage["report"], render(read_run(run / stage["name"])).encode())
    return target


def render(record: RunRecord) -> str:
    """The page as text; everything that comes from files is escaped."""
    script = (_HERE / "slider.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, loader=FileSystemLoader(_HERE)
    )
    environment.globals.update(number=number, interval=interval)
    analysis = record.analysis
    return environment.get_template("page.html.j2").render(
        record=record,
        version=dealias.__version__,
        script=Markup(script),  # our own file, named by its hash in the policy
        script_hash=f"sha256-{digest}",
        summary=summary(record),
        evaluations=compared(record.evaluations),
        slices=[_slice(example) for example in record.examples],
        final=printable(record.run.get("final", "")),
        stopped=printable(record.stopped) if record.stopped else None,
        trouble=printable(record.trouble),
        errors=error_views(analysis) if analysis else [],
        cells=cell_views(analysis) if analysis else [],
        augmentations=augmentation_views(analysis) if analysis else [],
        inside=inside(record),
        curves=curves(record.metrics),
        facts=facts(record),
        settings="\n".join(map(printable, record.settings.splitlines())),
    )


def summary(record: RunRecord) -> str:
    """One line: recipe, epochs, steps, time."""
    known = record.analysis.facts.model if record.analysis and not record.run else None
    model = f"the model {known}" if known else "a run"
    parts = [printable(record.run.get("recipe", model))]
    if record.metrics:
        last = record.metrics[-1]
        parts.append(f"{last.get('epoch', 0) + 1} epochs, {last.get('step', 0)} steps")
        seconds = sum(row.get("seconds") or 0 for row in record.metrics)
        parts.append(f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds")
    return " · ".join(parts)


def inside(record: RunRecord) -> str:
    """One line: which weights were looked at, on what."""
    if record.analysis is None:
        return ""
    known = record.analysis.facts
    weights = f", weights {known.weights[:12]}" if known.weights else ""
    seen = " The model was trained on these very scans." if known.trained_on else ""
    text = f"{known.model}{weights}: the middle slice of the first scan of each cell.{seen}"
    return printable(text)


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """Flat facts of run.json, as they are; lists and nested ones are counted or joined.

    Stages have a table of their own, and digests are for programs.
    """
    rows = []
    for key, value in record.run.items():
        # where the data lay may name a person or a machine, and a report is passed on
        if key in ("data", "ended", "stages", "made_of") or value in ([], {}, None, ""):
            continue
        if isinstance(value, dict):
            text = ", ".join(f"{name} {item}" for name, item in value.items())
        elif isinstance(value, list):
            text = ", ".join(str(item) for item in value[:8]) + (" …" if len(value) > 8 else "")
        else:
            text = str(value)
        rows.append((printable(key.replace("_", " ")), printable(text)))
    return rows


def number(value: Any) -> str:
    """Four decimals, or a dash where there is no number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:.4f}"


def interval(pair: Any) -> str:
    """An interval of two numbers."""
    return f"{number(pair[0])} – {number(pair[1])}" if pair else "–"


def _slice(example: Any) -> dict[str, Any]:
    known = {key: example.facts.get(key) for key in ("z", "cell", "ssim", "residual")}
    name = printable(example.facts.get("name", ""))
    return {**known, "name": name, "panels": panels(example)}
