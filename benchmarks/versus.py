"""Fair comparisons: calls interleaved, each warmed once, medians and quartiles, CPU seconds too."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Run all calls in turn, again and again.

    Args:
        calls: By name.
        rounds: How often each is measured, after one round that warms up.

    Returns:
        By name: `wall` and `cpu`, each [first quartile, median, third quartile] in seconds.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                spent = (time.perf_counter() - wall, time.process_time() - cpu)
                seconds[name].append(spent)
    return {
        name: {"wall": _quartiles([wall for wall, _ in all_]),
               "cpu": _quartiles([cpu for _, cpu in all_])}
        for name, all_ in seconds.items()
    }  # fmt: skip


def _quartiles(values: list[float]) -> list[float]:
    if len(values) < 2:
        return values * 3
    return [round(one, 4) for one in statistics.quantiles(values, n=4, method="inclusive")]


def facts() -> dict[str, Any]:
    """Where and when: hardware, threads, versions, and the load that other work put on it."""
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else _processor()
    return {
        "date": datetime.date.today().isoformat(),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": [round(one, 2) for one in os.getloadavg()],
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def write(path: Path, results: Mapping[str, Any]) -> None:
    """A dated result file, sorted and readable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
