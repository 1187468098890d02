"""How a run talks to whoever started it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dealias.engine.ranks import ALONE, Ranks
from dealias.training.job import Progress


@dataclass(frozen=True)
class Hooks:
    """How a run talks to whoever started it.

    Attributes:
        progress: Told of every step.
        warn: Told of everything that is not as it should be.
        say: Told what the run chose by itself.
        time_limit: Seconds, or None.
        ranks: Which train together; the first one alone calls the functions.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    warn: Callable[[str], None] = lambda text: None
    say: Callable[[str], None] = lambda text: None
    time_limit: float | None = None
    ranks: Ranks = ALONE
