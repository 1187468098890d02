"""Memory by the tensors that live, where the allocator's own word cannot be had.

The profiler, which gives it on a CPU, notes every operation: beside a loop over tokens it needs
more memory than what it measures. Here each storage is followed from the operation that made it to
its death; what a kernel takes for itself is measured when it is first called so, alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.engine.allocator import Taken, taken
from dealias.engine.operation import tensors_in

CPU = torch.device("cpu")


class Storages(TorchDispatchMode):
    """Follows the storages that operations inside it make, those of backward included.

    Attributes:
        live: Bytes of those that live.
        peak: Most at once, with what the kernel that runs takes for itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._living: dict[int, weakref.ref[Any]] = {}
        self._hidden: dict[tuple[Any, ...], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and follow what is new in what it gives."""
        call = partial(func, *args, **(kwargs or {}))
        given = tensors_in([args, kwargs or {}])
        out = call()
        there = {one.untyped_storage()._cdata for one in given}
        for tensor in tensors_in(out):
            if tensor.untyped_storage()._cdata not in there:
                self._follow(tensor.untyped_storage())
        # what writes to what it was given may not run twice
        hidden = 0 if func._schema.is_mutable else self._own(call, given, out)
        self.peak = max(self.peak, self.live + hidden)
        return out

    def _own(self, call: partial[Any], given: list[Tensor], out: Any) -> int:
        """Bytes that a kernel takes beside what it gives."""
        shapes = [(one.shape, one.stride()) for one in [*given, *tensors_in(out)]]
        key = (call.func, *shapes)
        if key not in self._hidden:
            (found,) = taken([lambda: call], CPU)
            self._hidden[key] = found.peak - found.kept
        return self._hidden[key]

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
        As the allocator would tell it.
    """
    with Storages() as storages:
        result = call()
    found = Taken(storages.peak, storages.live)
    del result
    return found
