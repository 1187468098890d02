"""How long a long job may take, and an early word when it will take longer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from dealias.errors import SettingsError

EARLY = 3
"""Slices after which the time for all of them is first extrapolated."""
FILLED = 0.9
"""Share of a time limit that is given away beforehand: paces differ from one volume to the next."""
_UNITS = {"h": 3600, "m": 60, "s": 1}


def seconds(text: str) -> float:
    """A duration such as "2h30m", "50m" or "90s" in seconds.

    Raises:
        SettingsError: It is none, or it is zero.
    """
    if not re.fullmatch(r"(?=.)(\d+h)?(\d+m)?(\d+s)?", text):
        raise SettingsError("--time-limit", f"'{text}'", "a duration such as 2h30m, 50m or 90s")
    total = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([hms])", text))
    if total == 0:
        raise SettingsError("--time-limit", f"'{text}'", "more than zero")
    return float(total)


class TimeBudget:
    """Warns, once and early, that a time limit will not be kept; tells what there is time for.

    Args:
        total: Slices to do.
        limit: Seconds, or None for no limit.
        warn: Called with the warning.
        clock: Gives seconds.
    """

    def __init__(
        self,
        total: int,
        limit: float | None,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._limit, self._warn, self._clock = total, limit, warn, clock
        self._done, self._passes, self._warned, self._start = 0, 0, False, clock()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._start

    @property
    def _pace(self) -> float:
        """Seconds of one pass over one slice, all in all."""
        return self.seconds / self._passes

    def tried(self) -> None:
        """Count a slice that was reconstructed for its time alone."""
        self._passes += 1

    def affords(self, slices: int, passes: int) -> bool:
        """Whether so many passes over a volume leave time for one over all that comes after it.

        Args:
            slices: Of the volume.
            passes: Over each of them.
        """
        if self._limit is None or not self._passes:
            return True
        after = self._total - self._done - slices
        expected = self.seconds + self._pace * (slices * passes + after)
        return expected <= FILLED * self._limit

    def advance(self, slices: int, passes: int = 1) -> None:
        """Count slices done, and warn where their pace will not do, even at one pass each."""
        self._done += slices
        self._passes += slices * passes
        if self._limit is None or self._warned or self._done < min(EARLY, self._total):
            return
        expected = self.seconds + self._pace * (self._total - self._done)
        if expected > self._limit:
            self._warned = True
            self._warn(
                f"{self._done} of {self._total} slices took {self.seconds:.0f} s; all of them will "
                f"take about {expected:.0f} s, more than --time-limit {self._limit:.0f} s"
            )
