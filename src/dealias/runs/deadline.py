"""The last moment at which a run can start and still be done by a deadline."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from dealias.errors import SettingsError

RESERVE = 0.2
"""Share of the time kept for what a plan does not count: reading, restarts, a machine shared."""


@dataclass(frozen=True)
class Deadline:
    """When a run must start; times know their zone.

    Attributes:
        due: When it is to be done.
        seconds: It takes: training, validations and one evaluation.
        reserve: Share of them on top.
        now: When it was asked.
    """

    due: datetime.datetime
    seconds: float
    reserve: float
    now: datetime.datetime

    @property
    def latest(self) -> datetime.datetime:
        """Nothing may go wrong after it."""
        return self.due - datetime.timedelta(seconds=self.seconds)

    @property
    def careful(self) -> datetime.datetime:
        """With the reserve."""
        return self.due - datetime.timedelta(seconds=(1 + self.reserve) * self.seconds)

    @property
    def too_late(self) -> bool:
        """Whether it cannot be done any more."""
        return self.now > self.latest

    @property
    def share(self) -> float:
        """Of the run that can still be done if it starts now, 0 to 1."""
        left = (self.due - self.now).total_seconds()
        return min(1.0, max(0.0, left / self.seconds))

    def to_json(self) -> dict[str, Any]:
        """For programs; times as ISO 8601 has them."""
        return {
            "due": self.due.isoformat(), "latest": self.latest.isoformat(),
            "careful": self.careful.isoformat(), "reserve": self.reserve,
            "seconds": self.seconds, "too_late": self.too_late, "share": self.share,
        }  # fmt: skip


def deadline_of(option: str, text: str) -> datetime.datetime:
    """A deadline as a person writes it.

    Args:
        option: For the message.
        text: A date, whose end is meant, or a date and a time, as ISO 8601 has them; local unless a
            zone is said, such as 2026-08-14T18:00+09:00.

    Returns:
        With its zone.

    Raises:
        SettingsError: It is neither.
    """
    try:
        due = datetime.datetime.fromisoformat(text)
        if _date_alone(text):
            due += datetime.timedelta(days=1)
        # a naive time is local, by the rules of its own day
        return due if due.tzinfo is not None else due.astimezone()
    except (ValueError, OverflowError, OSError):
        expected = "a date or a date and time, such as 2026-08-14 or 2026-08-14T18:00"
        raise SettingsError(option, f"'{text}'", expected) from None


def _date_alone(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
