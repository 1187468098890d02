"""A sweep: every worker takes the next trial that nobody has, until none is left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dealias
from dealias.atomic import write_json
from dealias.config.compose import difference, load_recipe
from dealias.config.schema import Recipe
from dealias.data.catalogue import open_split
from dealias.errors import DataError, SettingsError
from dealias.runs.study.clock import Clock, Done
from dealias.runs.study.scored import judged_by, refuse_unscored
from dealias.runs.study.series import data_digest
from dealias.runs.study.sweep.claims import Claim, Claims
from dealias.runs.study.sweep.importance import Importance, importances
from dealias.runs.study.sweep.points import counted_point
from dealias.runs.study.sweep.tpe import Proposals
from dealias.runs.study.sweep.trial import FINISHED, Trial
from dealias.runs.study.sweep.work import LOST, Bench, Sweep, run_trial
from dealias.training.stops import Stopped

SWEEP = "sweep.json"
Work = Callable[[Sweep, Trial, Claim, Bench], Trial]


@dataclass(frozen=True)
class Found:
    """What a sweep found so far.

    Attributes:
        protocol: By which trials were scored.
        trials: The best first, then those that were given up, failed or are not done.
        importances: Of each varied setting, the most important first.
        left: Trials that are not done: other workers have them.
    """

    protocol: str
    trials: tuple[Trial, ...]
    importances: tuple[Importance, ...]
    left: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        trials = [trial.to_json() for trial in self.trials]
        mattered = [one.to_json() for one in self.importances]
        own = {"protocol": self.protocol, "left": self.left}
        return {**own, "trials": trials, "importances": mattered}


def run_sweep(
    sweep: Sweep,
    progress: Callable[[Done], None] = lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
    work: Work = run_trial,
) -> Found:
    """Do what is left of a sweep, with whoever else works on it.

    Args:
        sweep: What, where.
        progress: Told of every step.
        warn: Told of everything that is not as it should be.
        work: Does one trial.

    Returns:
        All trials of the folder.

    Raises:
        SettingsError: The recipe or the space cannot be used, or the folder is another sweep's.
        DataError: The data cannot be used, or are not those that the sweep began with.
        DiskError: It cannot be written.
        Stopped: As asked; the same call continues.
    """
    judge, digest = _begin(sweep)
    count, points = _count(sweep, warn), _Points(sweep, digest)
    bench = Bench(judge, open_split(sweep.data, judge.data.val), Clock(count, progress), warn)
    claims, done = Claims(sweep.out / "claims"), set[int]()
    while _pass(sweep, count, claims, points, done, bench, work):
        pass  # once more: a worker may have gone since
    trials = sweep.records.all()
    points.share(trials)
    ranked = sorted(trials, key=_rank)
    left = count - sum(trial.ended for trial in trials if trial.number < count)
    return Found(judge.protocol, tuple(ranked), importances(sweep.space, trials), left)


def _pass(
    sweep: Sweep, count: int, claims: Claims, points: _Points, done: set[int], bench: Bench,
    work: Work,
) -> bool:  # fmt: skip
    """Look at each trial once; gives whether any was done here."""
    worked = False
    for number in range(count):
        if number in done:
            continue
        name = sweep.records.run(number).relative_to(sweep.out).as_posix()
        if _ended(sweep, number):
            bench.clock.begin(name, True)
        else:
            claim = claims.take(number)
            if claim is None:
                continue
            bench.clock.begin(name, False)
            with claim:
                if not _one(sweep, claim, points, bench, work):
                    continue
            worked = True
        done.add(number)
        bench.clock.end()
    return worked


def _one(sweep: Sweep, claim: Claim, points: _Points, bench: Bench, work: Work) -> bool:
    """Do a claimed trial; gives whether it has ended."""
    records, number = sweep.records, claim.number
    if _ended(sweep, number):
        return True  # between the look and the claim
    trial = records.read(number)
    if trial is None:
        trial = Trial(number, points.of(number))
        records.write(trial)
    try:
        trial = work(sweep, trial, claim, bench)
    except Stopped as stopped:
        if str(stopped) != LOST:
            raise
        bench.warn(f"trial {number}: {LOST}")
        return False
    if claim.lost:
        return False
    records.write(trial)
    if trial.reason:
        bench.warn(f"trial {number}: {trial.outcome}")
    return True


def _ended(sweep: Sweep, number: int) -> bool:
    trial = sweep.records.read(number)
    return trial is not None and trial.ended


class _Points:
    """The values of each trial."""

    def __init__(self, sweep: Sweep, digest: str) -> None:
        self.sweep = sweep
        self.proposals: Proposals | None = None
        if sweep.space.method == "tpe":
            self.proposals = Proposals(sweep.space, f"dealias sweep {digest}", sweep.storage)

    def of(self, number: int) -> dict[str, Any]:
        if self.proposals is None:
            return counted_point(self.sweep.space, number)
        ended = [trial for trial in self.sweep.records.all() if trial.ended]
        return self.proposals.point(number, ended)

    def share(self, trials: tuple[Trial, ...]) -> None:
        if self.proposals is not None:
            self.proposals.share([trial for trial in trials if trial.ended])


def _begin(sweep: Sweep) -> tuple[Recipe, str]:
    """Refuse what cannot work; gives the recipe that judges all trials, and the sweep's digest."""
    space = sweep.space
    if sweep.storage is not None and space.method != "tpe":
        do = "leave --storage out: the trials of this method are counted"
        raise SettingsError("--storage", f"method: {space.method}", "method: tpe", do)
    recipe = load_recipe(sweep.recipe, list(sweep.overrides))
    refuse_unscored(recipe)
    if recipe.stages and space.prune is not None:
        raise SettingsError("prune", "a recipe with stages", "a single training", "leave it out")
    sweep.settings_of({key: one.first for key, one in space.space.items()})
    judge = judged_by(recipe)
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "space": space.model_dump(mode="json"),
        "data": data_digest(sweep.data, judge),
    }
    _refuse_other_sweep(sweep, facts)
    text = json.dumps(facts, sort_keys=True)
    return judge, hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse_other_sweep(sweep: Sweep, facts: dict[str, Any]) -> None:
    """The same folder is the same sweep, for as many trials as one likes."""
    path = sweep.out / SWEEP
    if not path.is_file():
        write_json(path, {"dealias": dealias.__version__, **facts})
    # read again: another worker may have begun at the same moment
    then = json.loads(path.read_text())
    if then.get("data") != facts["data"]:
        do = "restore them, or choose another --out"
        raise DataError(sweep.data, "other data", "those that the sweep began with", do)
    changed = difference(
        {key: then.get(key, {}) for key in ("recipe", "space")},
        {key: facts[key] for key in ("recipe", "space")},
    )
    if changed:
        raise SettingsError(path, f"another sweep ({changed})", "the same", "choose another --out")


def _count(sweep: Sweep, warn: Callable[[str], None]) -> int:
    """How many trials there are to be."""
    points = sweep.space.points if sweep.space.method == "grid" else None
    if points is None:
        if sweep.trials is None:
            raise SettingsError("--trials", "nothing", "how many", "only a grid has an end")
        return sweep.trials
    if sweep.trials is None or sweep.trials >= points:
        return points
    warn(f"--trials {sweep.trials}: the first of {points} points of the grid")
    return sweep.trials


def _rank(trial: Trial) -> tuple[bool, float, int]:
    """Finished ones first, the best of them first; then what was given up, by what it reached."""
    reached = trial.reached
    return trial.state != FINISHED, float("inf") if reached is None else -reached, trial.number
