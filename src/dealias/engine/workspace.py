"""What each operation costs beyond its tensors, measured once on each device.

Kernels take buffers of their own: other layouts, sums over threads, scratch. No count of tensors
sees them, and no formula holds for all devices. So each distinct operation is run alone, once, on
the device; its hidden buffer and its time are kept in the user's cache folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch

from dealias.engine.allocator import Prepare, taken
from dealias.engine.measured import measured_file, read_measured, write_measured
from dealias.engine.operation import Operation
from dealias.engine.timing import usual
from dealias.errors import no_memory
from dealias.kernels.build import version

TOGETHER = 40
"""Operations measured before the file is written and progress told."""


class Cost(NamedTuple):
    """Of one operation on one device.

    Attributes:
        hidden: Bytes it takes for itself while it runs.
        seconds: Of one run.
    """

    hidden: int
    seconds: float


class Workspace:
    """What was measured on one device.

    Args:
        device: Which.
        warn: Told if it cannot be kept.
    """

    def __init__(
        self, device: torch.device, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        self.device, self._warn = device, warn
        kind = f"operations-{version()}" if device.type == "cpu" else "operations"
        self._path = measured_file(kind, device)
        self._costs = {
            key: Cost(int(value[0]), float(value[1]))
            for key, value in read_measured(self._path).items()
            if isinstance(value, list) and len(value) == 2
        }

    def cost(self, operation: Operation) -> Cost | None:
        """Of one operation, or None where it was not measured."""
        return self._costs.get(operation.key)

    def missing(self, operations: Iterable[Operation]) -> list[Operation]:
        """Those not measured yet, each once."""
        wanted = {one.key: one for one in operations if one.key not in self._costs}
        return list(wanted.values())

    def measure(
        self, operations: Iterable[Operation], progress: Callable[[int], None] = lambda done: None
    ) -> None:
        """Measure what is missing, and keep it. Random numbers and gradients stay as they are.

        Args:
            operations: Any; what is known is not measured again.
            progress: Told how many were done since the last call.
        """
        missing = self.missing(operations)
        devices = [self.device] if self.device.type == "cuda" else []
        for first in range(0, len(missing), TOGETHER):
            some = missing[first : first + TOGETHER]
            with torch.random.fork_rng(devices), torch.no_grad():
                found = _measure(some, self.device)
            self._costs |= found
            write_measured(self._path, {key: list(cost) for key, cost in found.items()}, self._warn)
            progress(len(some))


def _measure(operations: Sequence[Operation], device: torch.device) -> dict[str, Cost]:
    possible: dict[str, tuple[Operation, float]] = {}
    for one in operations:
        try:
            possible[one.key] = one, usual(_prepared(one, device)(), device, one.bytes)
        except (MemoryError, RuntimeError) as error:
            if not no_memory(error):
                raise
    calls = [_prepared(one, device) for one, _ in possible.values()]
    found = {}
    for (key, (_, seconds)), (peak, kept) in zip(
        possible.items(), taken(calls, device), strict=True
    ):
        found[key] = Cost(max(0, peak - max(kept, 0)), seconds)
    return found


def _prepared(one: Operation, device: torch.device) -> Prepare:
    def prepare() -> Callable[[], object]:
        args, kwargs = one.arguments(device)
        return partial(one.function, *args, **kwargs)

    return prepare
