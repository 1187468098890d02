"""Judging steps: what was learned, what was not finite, and when that is enough."""

from __future__ import annotations

from collections.abc import Callable

from dealias.errors import HealthError
from dealias.training.checkpoint import TrainState
from dealias.training.dealing import Name
from dealias.training.journal import Journal
from dealias.training.step import StepResult

EXPLOSION = 1e3
"""A slice's loss this many times the epoch's mean is worth a warning."""


class Health:
    """Counts an epoch's losses, and steps in a row that could not be taken.

    Args:
        limit: So many of them stop a run.
        journal: Where they are reported.
        warn: Told of each one, and of losses that are far too large.
    """

    def __init__(self, limit: int, journal: Journal, warn: Callable[[str], None]) -> None:
        self.limit, self.journal, self.warn = limit, journal, warn

    def judge(self, state: TrainState, result: StepResult) -> HealthError | None:
        """Count what a step learned, or what was wrong.

        Args:
            state: Whose counts are changed.
            result: Of the step.

        Returns:
            Why the run is to stop, once it is saved; or None.
        """
        if result.applied or result.overflow:
            state.bad_steps = 0
            self._warn_of_explosion(state, result)
            state.loss_sum += sum(result.losses)
            state.loss_count += len(result.losses)
            return None
        state.bad_steps += 1
        self.journal.bad_step(state.step, state.epoch, result)
        name, z = _offender(result)
        where = f"{name}, slice {z}"
        self.warn(f"{where}: loss or gradient is not finite; the step was not taken")
        if state.bad_steps < self.limit:
            return None
        found = f"{state.bad_steps} steps in a row without a finite loss and gradient"
        do = "run `dealias check` on the data, or lower optimiser.lr; see nan_report.json"
        return HealthError(where, found, "", do)

    def _warn_of_explosion(self, state: TrainState, result: StepResult) -> None:
        mean = state.loss_sum / max(state.loss_count, 1)
        for (name, z), value in zip(result.names, result.losses, strict=True):
            if 0 < EXPLOSION * mean < value:
                text = f"{name}, slice {z}: loss {value:.3g}, {value / mean:.0f} times the mean"
                self.warn(f"{text}; is its scale that of the others? run `dealias check`")


def _offender(result: StepResult) -> Name:
    for name, value in zip(result.names, result.losses, strict=True):
        if value - value != 0:
            return name
    return result.names[0]
