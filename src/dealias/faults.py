"""Named points at which a test may kill the process, so that crash safety is proved, not hoped."""

from __future__ import annotations

import os
import signal

_seen: dict[str, int] = {}


def fault(point: str) -> None:
    """Send the signal that DEALIAS_FAULT asks for at this point.

    Args:
        point: The name. DEALIAS_FAULT is a list, separated by commas, of POINT:N:SIGNAL: at the
            N-th passing of the point, from 1. SIGKILL kills this process, as a power cut would;
            any other signal goes to the whole process group, as Slurm, systemd and Ctrl-C send it.
    """
    wishes = os.environ.get("DEALIAS_FAULT")
    if not wishes:
        return
    _seen[point] = _seen.get(point, 0) + 1
    for wish in wishes.split(","):
        name, count, number = wish.split(":")
        if name == point and int(count) == _seen[point]:
            _send(signal.Signals[number])


def _send(number: signal.Signals) -> None:
    if number is signal.SIGKILL:
        os.kill(os.getpid(), number)
    else:
        os.killpg(os.getpgrp(), number)
