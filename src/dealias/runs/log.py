"""The log of all runs below a folder: what each one was, what became of it, and why."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from dealias.config.compose import difference
from dealias.config.strict import read_yaml
from dealias.errors import UserError
from dealias.evaluation.scores import Scores, read_scores
from dealias.runs.folder import FINISHED, LOCK, RUN, SETTINGS, RunFolder, StageFolder, alive
from dealias.runs.study.scored import SCORES
from dealias.runs.study.sweep.run import SWEEP
from dealias.runs.study.sweep.space import overrides
from dealias.runs.study.sweep.trial import REFUSED, Records

_WITHIN = {"main", "model", "evaluations", "checkpoints", "claims"}
"""Folders of a run or a sweep that hold no run."""
_OWN = "training.seed="


@dataclass(frozen=True)
class Entry:
    """One run, a stage of one, or a trial that was never started.

    Attributes:
        name: Its path below the folder.
        recipe: The recipe's name.
        parent: The run whose weights it began with, by name; else None.
        changes: Settings that are not its recipe's, or not its parent's.
        note: What it was to show.
        state: "finished", "running", or what else became of it.
        reason: Why it stopped or failed.
        scores: Of the best validation; None before the first.
        verdict: Beside its parent, or the recipe as it is.
        stage: Whether it is a stage of a run, and no run of its own.
    """

    name: str
    recipe: str
    parent: str | None = None
    changes: tuple[str, ...] = ()
    note: str = ""
    state: str = ""
    reason: str = ""
    scores: Scores | None = None
    verdict: str = ""
    stage: bool = False

    @property
    def cells(self) -> dict[str, float]:
        """Mean score of each cell, by its name."""
        found = self.scores.cells if self.scores is not None else ()
        return {f"{cell.anatomy}-x{cell.acceleration}": cell.mean for cell in found}

    @property
    def as_it_is(self) -> bool:
        """Whether it is its recipe with nothing changed but the seed."""
        plain = self.parent is None and not self.stage
        return plain and all(one.startswith(_OWN) for one in self.changes)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        total = None if self.scores is None else self.scores.total
        own = {"name": self.name, "recipe": self.recipe, "parent": self.parent}
        more = {"changes": list(self.changes), "note": self.note, "state": self.state}
        scored = {"total": total, "cells": self.cells, "verdict": self.verdict}
        return {**own, **more, "reason": self.reason, **scored}


def read_log(folder: Path) -> tuple[Entry, ...]:
    """All runs below a folder, sorted by path; stages follow their run.

    Args:
        folder: Any folder; a run itself is its own log.
    """
    found: list[Entry] = []
    for path in _places(folder):
        if (path / RUN).is_file():
            found.append(_entry(path, folder))
        if (path / SWEEP).is_file():
            found += _never_started(path, folder)
    found.sort(key=lambda entry: PurePath(entry.name).parts)
    return tuple(_parents_by_name(found, folder))


def _places(folder: Path) -> Iterator[Path]:
    for here, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if name not in _WITHIN)
        if RUN in files or SWEEP in files:
            yield Path(here)


def _entry(path: Path, folder: Path) -> Entry:
    name = path.relative_to(folder).as_posix()
    try:
        facts = RunFolder(path).facts()
        recipe, note = str(facts.get("recipe", "?")), str(facts.get("note", ""))
        entry = Entry(name, recipe, note=note, stage="stage" in facts)
        state, reason = _state(path, facts)
        entry = replace(entry, state=state, reason=reason, scores=_scores(path, facts))
        parent = _parent(path, facts)
        changes = _typed(facts) if parent is None else _changed(parent, path)
        said = None if parent is None else os.path.relpath(parent, folder)
        return replace(entry, parent=said, changes=changes)
    except (ValueError, TypeError, KeyError, AttributeError, UserError) as error:
        return Entry(name, "?", state="damaged", reason=f"{type(error).__name__}: {error}")


def _state(path: Path, facts: Mapping[str, Any]) -> tuple[str, str]:
    if "stages" in facts and not (path / FINISHED[1]).is_file():
        done = [StageFolder(path / str(name)).finished for name in facts["stages"]]
        return _ended(path, facts, f"{sum(done)} of {len(done)} stages")
    main = path if "stage" in facts else path / "main"
    whole = "stages" in facts or (main / FINISHED[0]).is_file()
    if whole and (path / FINISHED[1]).is_file():
        early = _json(main / FINISHED[0]).get("stopped")
        return "finished", "; ".join(str(one) for one in (facts.get("final"), early) if one)
    return _ended(path, facts, "not finished")


def _ended(path: Path, facts: Mapping[str, Any], otherwise: str) -> tuple[str, str]:
    """What a run says itself, or what its lock tells."""
    lock = _json(path / LOCK)
    if lock:
        pid, host = int(lock.get("pid", 0)), str(lock.get("host", ""))
        if host != socket.gethostname():
            return "running", f"on {host}, if it is there"
        if alive(pid):
            return "running", ""
        return "died", f"process {pid} is gone, and left no reason"
    ended = facts.get("ended")
    if ended is None:
        return otherwise, ""
    return str(ended["state"]), str(ended["reason"])


def _scores(path: Path, facts: Mapping[str, Any]) -> Scores | None:
    """Of the best validation; a run of several stages has none of its own."""
    file = path / SCORES if "stage" in facts else path / "main" / SCORES
    if "stages" in facts:
        file = path / "evaluations" / "val" / SCORES
    return read_scores(file) if file.is_file() else None


def _typed(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Overrides, in the order that they were given."""
    later = [one for again in facts.get("resumed", []) for one in again.get("overrides", [])]
    return tuple(map(str, [*facts.get("overrides", []), *later]))


def _parent(path: Path, facts: Mapping[str, Any]) -> Path | None:
    """The folder of the run or the stage whose weights it began with."""
    source = str(facts.get("start", ""))
    if not source:
        return None
    stage = source.rpartition(":")[0] if source.endswith((":last", ":best")) else ""
    if not stage:
        return Path(source).resolve()
    name = str(facts["stage"])
    top = path.parents[name.count("/")]
    cell = name.partition("/")[2]
    own = top / stage / cell
    return (own if cell and own.is_dir() else top / stage).resolve()


def _changed(parent: Path, path: Path) -> tuple[str, ...]:
    """Settings that differ from the parent's; none are known of a parent without settings."""
    if not (parent / SETTINGS).is_file():
        return ()
    found = difference(read_yaml(parent / SETTINGS), read_yaml(path / SETTINGS))
    return (found,) if found else ()


def _never_started(path: Path, folder: Path) -> list[Entry]:
    """Trials of a sweep that have no run folder: their plan did not fit, or their settings."""
    records = Records(path / "trials")
    recipe = _json(path / SWEEP).get("recipe", {}).get("name", "?")
    found = []
    for trial in records.all():
        run = records.run(trial.number)
        if trial.ended and not (run / RUN).is_file():
            changes = tuple(overrides(trial.values))
            name = run.relative_to(folder).as_posix()
            found.append(Entry(name, recipe, None, changes, "", REFUSED, trial.reason))
    return found


def _parents_by_name(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """A parent that is in the log is called as it is there."""
    known = {(folder / entry.name).resolve(): entry.name for entry in entries}
    return [
        entry
        if entry.parent is None
        else replace(entry, parent=known.get((folder / entry.parent).resolve(), entry.parent))
        for entry in entries
    ]


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
