"""How a run talks to whoever started it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dealias.engine.ranks import ALONE, Ranks
from dealias.training.job import Progress
from dealias.training.stops import Stopped


@dataclass(frozen=True)
class Hooks:
    """How a run talks to whoever started it.

    Attributes:
        progress: Told of every step.
        warn: Told of everything that is not as it should be.
        say: Told what the run chose by itself.
        time_limit: Seconds, or None.
        ranks: Which train together; the first one alone calls the functions.
        stop: Polled at each step and each validated slice; a reason stops the run, which can go on
            later.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    warn: Callable[[str], None] = lambda text: None
    say: Callable[[str], None] = lambda text: None
    time_limit: float | None = None
    ranks: Ranks = ALONE
    stop: Callable[[], str | None] = lambda: None

    def since(self, started: float) -> Hooks:
        """Hooks with what is left of the time limit, for one of several trainings.

        Args:
            started: When the first began, by time.monotonic.

        Raises:
            Stopped: Nothing is left.
        """
        if self.time_limit is None:
            return self
        left = self.time_limit - (time.monotonic() - started)
        if left <= 0:
            raise Stopped("time limit")
        return replace(self, time_limit=left)
