"""How long a call takes when nobody disturbs it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

CACHES = 48 << 20
"""Bytes that push everything else out of a processor's caches."""
OWN_CACHE = 1 << 20
"""Bytes that stay in the cache of the core that made them until they are taken."""


def fastest(
    call: Callable[[], object], device: torch.device, enough: float = 0.05, most: int = 5,
    before: Callable[[], object] = lambda: None,
) -> float:  # fmt: skip
    """Seconds of the fastest of some runs, two at least; the others were disturbed.

    Args:
        call: What to time; its result is dropped.
        device: Where it works; a GPU is waited for.
        enough: Seconds after which it is not run again.
        most: Runs at most.
        before: Called before each run, not timed.

    Returns:
        Seconds. On a CPU that others use too, the time spent waiting for it does not count.
    """
    best, spent = float("inf"), 0.0
    for runs in range(1, most + 1):
        before()
        once = _once(call, device)
        best, spent = min(best, once), spent + once
        if spent > enough and runs > 1:
            break
    return best


def usual(call: Callable[[], object], device: torch.device, moved: int) -> float:
    """Seconds of a call among others, which finds a part of its data in the caches.

    Run again and again, a call finds all of them there, and takes up to a third less than in a
    network; after everything was pushed out it finds none and takes up to a half more. The mean of
    the two is what networks come close to (benchmarks/plan.py).

    Args:
        call: What to time.
        device: Where it works.
        moved: Bytes that it takes and gives.
    """
    warm = fastest(call, device)
    return warm if moved < OWN_CACHE else (warm + cold(call, device)) / 2


def cold(call: Callable[[], object], device: torch.device, most: int = 3) -> float:
    """Seconds of the fastest of some runs, each when everything else was in the caches."""
    others = torch.ones(CACHES // 4, device=device)
    return fastest(call, device, most=most, before=lambda: others.add_(1))


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
