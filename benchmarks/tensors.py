"""Memory by the tensors that live, where the allocator's own word cannot be had.

The profiler, which gives it on a CPU, notes every operation: beside a loop over tokens it needs
more memory than what it measures. Here each storage is followed from the operation that made it to
its death. Buffers that a kernel takes and gives back are not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from dealias.engine.allocator import Taken
from dealias.engine.operation import tensors_in


class Storages(TorchDispatchMode):
    """Follows the storages that operations inside it make, those of backward included.

    Attributes:
        live: Bytes of those that live.
        peak: Most of them at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._living: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and follow what is new in what it gives."""
        there = {one.untyped_storage()._cdata for one in tensors_in([args, kwargs or {}])}
        out = func(*args, **(kwargs or {}))
        for tensor in tensors_in(out):
            if tensor.untyped_storage()._cdata not in there:
                self._follow(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return out

    def _follow(self, storage: Any) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._living:
            return

        def gone(_: object) -> None:
            del self._living[place]
            self.live -= size

        self._living[place] = weakref.ref(storage, gone)
        self.live += size


def held(call: Callable[[], object]) -> Taken:
    """What one call takes beyond what was there, by its tensors.

    Args:
        call: Its result counts as kept.

    Returns:
        As the allocator would tell it, less what kernels take for themselves.
    """
    with Storages() as storages:
        result = call()
    found = Taken(storages.peak, storages.live)
    del result
    return found
