"""What a run's score says beside its parent's: more than chance, or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from statistics import fmean

from dealias.errors import SettingsError
from dealias.evaluation.compare import paired
from dealias.evaluation.scores import Scores
from dealias.runs.log import Entry
from dealias.runs.study.noise import TOTAL, Noise, noise_of
from dealias.runs.study.series import AS_IT_IS


def judged(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The log with a verdict on every run that has something to be compared with.

    A run stands beside its parent, or beside the runs of its recipe as it is. What two single runs
    must differ by is told by a noise study of the recipe, if there is one in the log.

    Args:
        entries: The log.
    """
    noises = {recipe: noise for recipe in _recipes(entries) if (noise := _noise(entries, recipe))}
    return tuple(replace(entry, verdict=_verdict(entry, entries, noises)) for entry in entries)


def _recipes(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.recipe for entry in entries))


def _noise(entries: Sequence[Entry], recipe: str) -> Noise | None:
    """Of the study of a recipe that has the most seeds."""
    studies: dict[PurePosixPath, list[Scores]] = {}
    for entry in entries:
        path = PurePosixPath(entry.name)
        if entry.recipe == recipe and path.parent.name == AS_IT_IS and entry.scores is not None:
            studies.setdefault(path.parent, []).append(entry.scores)
    runs = max(studies.values(), key=len, default=[])
    try:
        return noise_of(runs) if len(runs) > 1 else None
    except SettingsError:
        return None  # the data were others from one to the next


def _verdict(entry: Entry, entries: Sequence[Entry], noises: Mapping[str, Noise]) -> str:
    if entry.scores is None or entry.state != "finished":
        return ""
    name, others = _beside(entry, entries)
    known = [one.total for one in others if comparable(one, entry.scores)]
    if not known:
        return ""
    gain = entry.scores.total - fmean(known)
    noise = noises.get(entry.recipe)
    if noise is None or (noise.protocol != entry.scores.protocol):
        return f"{_points(gain)} beside {name}, noise unknown"
    limit = noise.spreads[TOTAL].detectable()
    if abs(gain) <= limit:
        return f"within noise of {name} ({_points(gain)}, noise {_size(limit)})"
    said = "better" if gain > 0 else "worse"
    return f"{said} than {name} by {_size(abs(gain))} (noise {_size(limit)})"


def _beside(entry: Entry, entries: Sequence[Entry]) -> tuple[str, list[Scores]]:
    """What a run is compared with: a name, and scores."""
    if entry.parent is not None:
        own = [one.scores for one in entries if one.name == entry.parent]
        return entry.parent, [one for one in own if one is not None]
    if entry.as_it_is or entry.stage:
        return "", []
    plain = [one for one in entries if one.recipe == entry.recipe and one.as_it_is]
    finished = [one for one in plain if one.state == "finished" and one.scores is not None]
    name = finished[0].name if len(finished) == 1 else f"{entry.recipe} as it is"
    return name, [one.scores for one in finished if one.scores is not None]


def comparable(one: Scores, other: Scores) -> bool:
    """Whether two scores are of the same slices by the same protocol."""
    try:
        return bool(paired(one, other))
    except SettingsError:
        return False


def _points(gain: float) -> str:
    return f"{gain:+.4f}"


def _size(value: float) -> str:
    return f"{value:.4f}"
