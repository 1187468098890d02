"""The allocator's own word on how much memory a call took, buffers inside kernels included."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function


class Taken(NamedTuple):
    """Memory of one call, in bytes beyond what was there before it.

    Attributes:
        peak: At most, while it ran.
        kept: At its end, its result included.
    """

    peak: int
    kept: int


Prepare = Callable[[], Callable[[], object]]
"""Makes a call's arguments, which do not count, and gives the call."""


def taken(calls: Sequence[Prepare], device: torch.device) -> list[Taken]:
    """Run calls one after the other and tell what each took.

    Args:
        calls: Each result is dropped before the next.
        device: Where they run.

    Returns:
        One for each call.
    """
    return _on_cuda(calls, device) if device.type == "cuda" else _on_cpu(calls)


def _on_cuda(calls: Sequence[Prepare], device: torch.device) -> list[Taken]:
    results = []
    for prepare in calls:
        call = prepare()
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = call()
        torch.cuda.synchronize(device)
        peak, after = torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)
        results.append(Taken(peak - before, after - before))
        del result, call
    return results


def _on_cpu(calls: Sequence[Prepare]) -> list[Taken]:
    """The profiler sees every allocation of the CPU's allocator; marks tell which call's it is."""
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _speechless():
        profiler.start()
    try:
        for number, prepare in enumerate(calls):
            call = prepare()
            with record_function(f"dealias {number}"):
                result = call()
            del result, call
    finally:
        with _speechless():
            profiler.stop()
    return _read(profiler.profiler.kineto_results.events(), len(calls))  # type: ignore[union-attr]


def _read(events: Any, count: int) -> list[Taken]:
    marks = {
        event.name(): (event.start_ns(), event.end_ns())
        for event in events
        if event.name().startswith("dealias ")
    }
    changes = sorted((e.start_ns(), i, e.nbytes()) for i, e in enumerate(events)
                     if e.name() == "[memory]")  # fmt: skip
    results = []
    for number in range(count):
        start, stop = marks[f"dealias {number}"]
        live = peak = 0
        for time, _, change in changes:
            if start <= time <= stop:
                live += change
                peak = max(peak, live)
        results.append(Taken(peak, live))
    return results


@contextlib.contextmanager
def _speechless() -> Iterator[None]:
    """The profiler writes a line of its own to the process's stderr, past Python."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
