"""Optuna's TPE sampler, asked for one trial at a time; the only file that imports Optuna.

What it proposes is a function of the trials that have ended and of the trial's number, so that a
sweep that was interrupted goes on as if it had not been. The trials are the sweep's own records; a
storage of Optuna's may hold them as well, for its dashboard and for sweeps in other folders.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dealias.errors import SettingsError
from dealias.randomness import generator
from dealias.runs.study.sweep.space import Parameter, Space, said
from dealias.runs.study.sweep.trial import FINISHED, Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_KEY = "dealias trial"


def need_optuna() -> Any:
    """The module.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        do = 'pip install "dealias[sweeps]", or set method: random'
        raise SettingsError("method: tpe", "no Optuna here", "optuna", do) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Proposals:
    """Proposes trials.

    Args:
        space: Of method "tpe".
        name: Of the study in the storage; sweeps of one name learn from each other.
        storage: A URL such as "sqlite:///sweeps.db", the path of an Optuna journal, or None.

    Raises:
        SettingsError: Optuna is not here, or cannot open the storage.
    """

    def __init__(self, space: Space, name: str, storage: str | None) -> None:
        self.space, self._optuna = space, need_optuna()
        self._shared: Study | None = None
        if storage is not None:
            self._shared = self._open(storage, name)

    def point(self, number: int, ended: Sequence[Trial]) -> dict[str, Any]:
        """The values of a new trial.

        Args:
            number: Its number.
            ended: The sweep's trials so far.
        """
        seed = int(generator(self.space.seed, "sweep tpe", number).integers(2**31))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is experimental in Optuna
            study = self._optuna.create_study(
                direction="maximize", sampler=self._optuna.samplers.TPESampler(seed=seed)
            )
            for known in self._known(ended):
                study.add_trial(known)
            drawn = study.ask(self._distributions()).params
        varied = {key: _chosen(one, drawn[key]) for key, one in self.space.varied.items()}
        return {key: varied.get(key, one.first) for key, one in self.space.space.items()}

    def share(self, ended: Sequence[Trial]) -> None:
        """Put trials into the storage that are not there yet."""
        if self._shared is None:
            return
        there = {one.user_attrs.get(_KEY) for one in self._shared.get_trials(deepcopy=False)}
        for trial in ended:
            if _digest(trial) not in there:
                self._shared.add_trial(self._frozen(trial))

    def _known(self, ended: Sequence[Trial]) -> list[FrozenTrial]:
        """All trials that have ended, of the storage as well, each once."""
        if self._shared is None:
            return [self._frozen(trial) for trial in ended]
        self.share(ended)
        found = {one.user_attrs.get(_KEY): one for one in self._shared.get_trials()}
        return list(found.values())

    def _frozen(self, trial: Trial) -> FrozenTrial:
        """A trial as Optuna has it; one without a model is the worst that there is."""
        states, finished = self._optuna.trial.TrialState, trial.state == FINISHED
        found: FrozenTrial = self._optuna.trial.create_trial(
            state=states.COMPLETE if finished else states.PRUNED,
            value=trial.total if finished else None,
            params={key: _param(one, trial.values[key]) for key, one in self.space.varied.items()},
            distributions=self._distributions(),
            intermediate_values=dict(trial.validations),
            user_attrs={_KEY: _digest(trial), "number": trial.number, "reason": trial.reason},
        )
        return found

    def _distributions(self) -> dict[str, BaseDistribution]:
        kinds, found = self._optuna.distributions, {}
        for key, one in self.space.varied.items():
            if one.ends is None:
                found[key] = kinds.CategoricalDistribution([said(it) for it in one.choices])
            else:
                kind = kinds.IntDistribution if one.whole else kinds.FloatDistribution
                found[key] = kind(*one.ends, log=one.log)
        return found

    def _open(self, storage: str, name: str) -> Study:
        storages = self._optuna.storages
        try:
            place: Any = storage
            if "://" not in storage:
                place = storages.JournalStorage(storages.journal.JournalFileBackend(storage))
            study: Study = self._optuna.create_study(
                storage=place, study_name=name, direction="maximize", load_if_exists=True
            )
        except Exception as error:  # of Optuna, SQLAlchemy, a driver that is not here, a disk
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            expected = "a URL such as sqlite:///sweeps.db, or a journal's path"
            raise SettingsError("--storage", f"'{storage}' ({reason})", expected) from None
        return study


def _chosen(parameter: Parameter, drawn: Any) -> Any:
    if parameter.ends is not None:
        return drawn
    return next(one for one in parameter.choices if said(one) == drawn)


def _param(parameter: Parameter, value: Any) -> Any:
    return said(value) if parameter.ends is None else value


def _digest(trial: Trial) -> str:
    """The same for the same trial with the same result, wherever it lies."""
    text = json.dumps(trial.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
