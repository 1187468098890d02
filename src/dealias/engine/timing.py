"""How long a call takes when nobody disturbs it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def fastest(
    call: Callable[[], object], device: torch.device, enough: float = 0.05, most: int = 5
) -> float:
    """Seconds of the fastest of some runs; the others were disturbed.

    Args:
        call: What to time; its result is dropped.
        device: Where it works; a GPU is waited for.
        enough: Seconds after which it is not run again.
        most: Runs at most.

    Returns:
        Seconds. On a CPU that others use too, the time spent waiting for it does not count.
    """
    best, spent = float("inf"), 0.0
    for _ in range(most):
        once = _once(call, device)
        best, spent = min(best, once), spent + once
        if spent > enough:
            break
    return best


def _once(call: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    wall, busy = time.perf_counter(), time.process_time()
    result = call()
    _wait(device)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    del result
    return wall if device.type == "cuda" else min(wall, busy)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
