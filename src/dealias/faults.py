"""Named points at which a test may kill the process, so that crash safety is proved, not hoped."""

from __future__ import annotations

import os

_seen: dict[str, int] = {}


def fault(point: str) -> None:
    """Exit at once, as a power cut would, if DEALIAS_FAULT names this point.

    Args:
        point: The name; DEALIAS_FAULT is POINT or POINT:N for its N-th passing, from 1.
    """
    wanted, _, count = os.environ.get("DEALIAS_FAULT", "").partition(":")
    if wanted != point:
        return
    _seen[point] = _seen.get(point, 0) + 1
    if _seen[point] == int(count or 1):
        os._exit(9)
