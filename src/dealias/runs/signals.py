"""Signals that stop a run: the first asks it to save, a second Ctrl-C ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143, "time limit": 0}


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], str | None]]:
    """Turn SIGINT, SIGTERM and SIGUSR1 into a reason that is polled.

    Yields:
        A function that gives the reason to stop, or None.
    """
    reason: list[str] = []

    def note(number: int, frame: object) -> None:
        name = signal.Signals(number).name
        if name == "SIGINT" and reason:
            os._exit(130)
        reason.append(name)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: reason[0] if reason else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
