"""Fair comparisons: calls interleaved, each warmed once, medians and quartiles, CPU seconds too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from apart import Apart
from dealias.errors import no_memory

Result = TypeVar("Result")
CPU = torch.device("cpu")
TOO_LARGE = {"fits": False}
"""Stands where a call's figures would, if memory did not suffice for it."""


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device = CPU,
    warm: bool = True,
) -> dict[str, Any]:
    """Run all calls in turn, again and again.

    Args:
        calls: By name.
        rounds: How often each is measured.
        device: Where they work; a GPU is waited for.
        warm: Whether one more round comes first, which is not measured; False where each call has
            run before.

    Returns:
        By name: `wall` and `cpu`, each [first quartile, median, third quartile] in seconds, or
        `TOO_LARGE`.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(rounds + warm):
        for name in list(seconds):
            once = within(lambda call=calls[name]: timed(call, device), device)
            if once is None:
                del seconds[name]
            elif number >= warm:
                seconds[name].append(once)
    return {name: _summary(seconds[name]) if name in seconds else TOO_LARGE for name in calls}


def timed(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall and CPU seconds of one call.

    On a GPU a call is timed right after itself: those in between left the allocator's blocks in
    other sizes, and giving them back to the driver is none of its work. What runs in a process of
    its own is timed there.
    """
    if isinstance(call, Apart):
        return call.spent()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        call()
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def within(call: Callable[[], Result], device: torch.device) -> Result | None:
    """What a call gives, or None where memory does not suffice for it."""
    try:
        return call()
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
    # outside the except, so that the exception no longer holds the tensors
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def quartiles(values: Sequence[float]) -> list[float]:
    """[first quartile, median, third quartile]."""
    if len(values) < 2:
        return [round(one, 6) for one in values] * 3
    return [round(one, 6) for one in statistics.quantiles(values, n=4, method="inclusive")]


def _summary(spent: Sequence[tuple[float, float]]) -> dict[str, list[float]]:
    return {"wall": quartiles([wall for wall, _ in spent]),
            "cpu": quartiles([cpu for _, cpu in spent])}  # fmt: skip
