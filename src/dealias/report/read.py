"""What a run folder holds that a report shows; whatever is not there yet is simply absent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.runs.analysis_file import FACTS, FOLDER, Analysis, read_analysis

Json = dict[str, Any]
Images = npt.NDArray[np.float32]
_PLAIN = re.compile(r"[\w-]+(/[\w-]+)?", re.ASCII)


@dataclass(frozen=True)
class Example:
    """One reconstructed slice of the validation set.

    Attributes:
        facts: name, z, cell, ssim, residual, data_range.
        zero_filled_HW: float32, in the data's units; so are the next two.
        reconstruction_HW: What the network gave.
        reference_HW: The target.
    """

    facts: Json
    zero_filled_HW: Images
    reconstruction_HW: Images
    reference_HW: Images


@dataclass(frozen=True)
class RunRecord:
    """Everything a report shows.

    Attributes:
        name: The run folder's name.
        run: run.json.
        settings: settings.yaml as text.
        metrics: Rows of metrics.jsonl.
        validation: Scores of the best checkpoint, or None.
        evaluations: Scores by method, in the order of their names.
        examples: Worst slices first.
        stages: Of each of a recipe's trainings: its name, epochs and best validation, as far as
            they are known. Each has a report of its own.
        stopped: Why the training ended before its last epoch, or none of it was finished; or None.
        analysis: What was found inside the model, or None.
        trouble: Why the analysis that is there cannot be shown, else "".
    """

    name: str
    run: Json
    settings: str
    metrics: list[Json]
    validation: Json | None
    evaluations: dict[str, Json]
    examples: list[Example]
    stages: list[Json]
    stopped: str | None = None
    analysis: Analysis | None = None
    trouble: str = ""


def read_run(folder: Path) -> RunRecord:
    """Read a run folder, that of one of its stages, or one with an analysis alone.

    Raises:
        DataError: It is none of these, or a file in it is damaged; that of the analysis is not
            worth losing the report, which then says so.
    """
    if not any((folder / name).is_file() for name in ("run.json", f"{FOLDER}/{FACTS}")):
        do = "give the folder that `dealias train --out` wrote"
        raise DataError(folder, "no run.json", "a run folder", do)
    run = _json(folder / "run.json") or {}
    # a stage's files lie beside its run.json
    main = folder if "stage" in run else folder / "main"
    scores = sorted((folder / "evaluations").glob("*/scores.json"))
    analysis, trouble = _analysis(folder)
    return RunRecord(
        name=folder.resolve().name,
        run=run,
        settings=_text(folder / "settings.yaml"),
        metrics=_rows(main / "metrics.jsonl"),
        validation=_json(main / "scores.json"),
        evaluations={path.parent.name: _json(path) or {} for path in scores},
        examples=_examples(main),
        stages=[_stage(folder, name) for name in stage_names(run)],
        stopped=_stopped(_json(main / "finished.json")) or _ended(run),
        analysis=analysis,
        trouble=trouble,
    )


def _analysis(folder: Path) -> tuple[Analysis | None, str]:
    try:
        return read_analysis(folder), ""
    except DataError as error:
        return None, str(error)


def _stopped(finished: Json | None) -> str | None:
    reason = (finished or {}).get("stopped")
    return None if reason is None else str(reason)


def _ended(run: Json) -> str | None:
    """What run.json says of a training that was stopped or failed, and did not go on."""
    ended = run.get("ended")
    return str(ended.get("reason")) if isinstance(ended, dict) else None


def stage_names(run: Json) -> list[str]:
    """Folders of a run's trainings, where its recipe has stages; no names that lead elsewhere."""
    names = run.get("stages")
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and _PLAIN.fullmatch(name)]


def _stage(folder: Path, name: str) -> Json:
    done = _json(folder / name / "finished.json") or {}
    scores = _json(folder / name / "scores.json") or {}
    best = done.get("best")
    begun = (folder / name / "run.json").is_file()
    state = "finished" if done else "begun" if begun else "not begun"
    stopped = _stopped(done)
    return {
        "name": name,
        "state": state if stopped is None else f"stopped early: {stopped}",
        "epochs": done.get("epochs"),
        "best_epoch": best["epoch"] + 1 if best else None,
        "total": scores.get("total"),
        "report": f"{name}/report.html" if begun else None,
    }


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _json(path: Path) -> Json | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            path, f"damaged JSON ({error})", "a JSON object", "write it again"
        ) from None
    if not isinstance(value, dict):
        raise DataError(path, type(value).__name__, "a JSON object", "write it again")
    return value


def _rows(path: Path) -> list[Json]:
    rows = []
    for line in _text(path).splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            found = f"a damaged line after {len(rows)} good ones"
            raise DataError(path, found, "one JSON object a line", "resume the run") from None
    return rows


def _examples(main: Path) -> list[Example]:
    if not (main / "examples.npz").is_file():
        return []
    facts = json.loads(_text(main / "examples.json") or "[]")
    with np.load(main / "examples.npz", allow_pickle=False) as arrays:
        kinds = [arrays[f"{kind}_NHW"] for kind in ("zero_filled", "reconstruction", "reference")]
    if any(len(images) != len(facts) for images in kinds):
        found = f"{len(facts)} descriptions of {len(kinds[0])} slices"
        raise DataError(main / "examples.json", found, "one for each slice", "resume the run")
    return [Example(fact, *images) for fact, *images in zip(facts, *kinds, strict=True)]
