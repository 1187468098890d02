"""When a run is to stop: a signal or the time limit, on any rank."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from dealias.engine.ranks import ALONE, Ranks


class Stopped(Exception):
    """The run was asked to stop; a checkpoint was saved. Its argument is the reason."""


class Stops:
    """Asks whether to stop.

    Args:
        stop: Gives a reason, or None.
        time_limit: Seconds from now, or None.
        ranks: Who must agree.
    """

    def __init__(
        self,
        stop: Callable[[], str | None] = lambda: None,
        time_limit: float | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self._stop, self._limit = stop, time_limit
        self._started = time.monotonic()

    def here(self) -> None:
        """Ask this rank alone.

        Raises:
            Stopped: There is a reason; the others do not know of it yet.
        """
        if self._limit is not None and time.monotonic() - self._started > self._limit:
            raise Stopped("time limit")
        reason = self._stop()
        if reason is not None:
            raise Stopped(reason)

    @contextlib.contextmanager
    def everywhere(self) -> Iterator[None]:
        """Around what each rank does by itself and where `here` may be raised.

        Raises:
            Stopped: On all ranks, if it was raised on any.
            Broken: A rank has left.
        """
        asked = None
        try:
            yield
        except Stopped as stopped:
            asked = str(stopped)
        reason = self.ranks.agreed(asked)
        if reason is not None:
            raise Stopped(reason)
