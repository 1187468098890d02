"""How long a long job may take, and an early word when it will take longer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from dealias.errors import SettingsError

EARLY = 3
"""Slices after which the time for all of them is first extrapolated."""
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
    """Warns, once and early, that a time limit will not be kept.

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
        self._done, self._warned, self._start = 0, False, clock()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._start

    def advance(self, slices: int) -> None:
        """Count slices done, and warn where their pace will not do."""
        self._done += slices
        if self._limit is None or self._warned or self._done < min(EARLY, self._total):
            return
        expected = self.seconds * self._total / self._done
        if expected > self._limit:
            self._warned = True
            self._warn(
                f"{self._done} of {self._total} slices took {self.seconds:.0f} s; all of them will "
                f"take about {expected:.0f} s, more than --time-limit {self._limit:.0f} s"
            )
