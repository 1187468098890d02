"""How far a study is, and how long the rest of it will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dealias.training.job import Progress


@dataclass(frozen=True)
class Done:
    """How far a study is.

    Attributes:
        run: Which run, such as "as-it-is/seed-430" or "trials/0003".
        share: Of the whole study, 0..1.
        left: Seconds, or None as long as nothing tells.
        training: Of the run, or None while it is scored.
    """

    run: str
    share: float
    left: float | None
    training: Progress | None


class Clock:
    """Tells how far a study is, and how long the rest will take by what was done so far.

    Args:
        runs: Of the whole study.
        tell: Told of every step.
    """

    def __init__(self, runs: int, tell: Callable[[Done], None]) -> None:
        self.runs, self.tell = runs, tell
        self.name, self.ended, self.skipped = "", 0, 0
        self.began = time.monotonic()
        self.there = False

    def begin(self, name: str, there: bool) -> None:
        """A run is next; `there` says that it was trained already."""
        self.name, self.there = name, there

    def train(self, progress: Progress) -> None:
        """It is trained."""
        self._tell(progress.step / max(progress.steps, 1), progress)

    def score(self) -> None:
        """It is scored."""
        self._tell(1.0, None)

    def end(self) -> None:
        """It is done."""
        self.ended += 1
        self.skipped += self.there
        self._tell(0.0, None)

    def _tell(self, share: float, training: Progress | None) -> None:
        worked = self.ended - self.skipped + share
        rest = self.runs - self.ended - share
        left = (time.monotonic() - self.began) / worked * rest if worked else None
        self.tell(Done(self.name, (self.ended + share) / self.runs, left, training))
