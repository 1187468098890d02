"""Counts what a computation needs, from a run on `meta` tensors that computes nothing.

Below autograd every operation passes a dispatch mode. It follows each storage from the operation
that made it to the death of the last tensor that uses it, so the total of what lives is known after
every operation, for forward, backward and recomputation alike, and for any network.
"""

from __future__ import annotations

import bisect
import gc
import itertools
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.engine.count import Count, Use
from dealias.engine.operation import tensors_in
from dealias.engine.replay import Known, Memory


class _Storage(weakref.ref):  # type: ignore[type-arg]
    """A storage that lives; the reference tells the counter when it dies."""

    __slots__ = ("bytes", "place", "since")
    bytes: int
    place: int
    since: int


class _Seen:
    """One operation in one count."""

    __slots__ = ("at", "live", "times")

    def __init__(self) -> None:
        self.times, self.live, self.at = 0, -1, 0


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts all that runs inside it, on `meta` tensors.

    Args:
        weights: Tensors that are there from the beginning to the end.
        inputs: The same, of the batch.
        memory: Shared by counters, so that each operation's outputs are worked out once.
        gradients: Those that are there already.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        inputs: Iterable[Tensor],
        memory: Memory | None = None,
        gradients: Iterable[Tensor] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memory = memory or Memory()
        self._living: dict[int, _Storage] = {}
        self._seen: dict[Known, _Seen] = {}
        self._live = self._calls = self._views = 0
        self._gone = self._forget  # one bound method for all references
        self._weights = self._hold(weights)
        self._inputs = self._hold(inputs)
        self._hold(gradients)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, or make its outputs from what is known of it."""
        if _is_view(func):
            self._views += 1
            return func(*args, **(kwargs or {}))
        known, out = self._memory.run(func, args, kwargs or {})
        self._calls += 1
        if not known.inplace:
            for tensor in (out,) if known.single else tensors_in(out):
                self._follow(tensor)
        self._note(known)
        return out

    def __enter__(self) -> Self:
        # torch's first operation on meta imports this, and what that throws keeps our frames alive
        import torch._dynamo  # noqa: F401

        # what dies in a cycle dies at a time of the collector's choosing: it counts as alive, so
        # that a count does not depend on what ran before; and it is a fifth faster
        self._collecting = gc.isenabled()
        gc.disable()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        if self._collecting:
            gc.enable()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # nothing here is ever compiled, and torch's guard against it takes a third of the time
        return False

    def count(self, gradients: Iterable[Tensor] = ()) -> Count:
        """What was counted.

        Args:
            gradients: Of the parameters, which are told apart from other things that live.
        """
        there = self._there(gradients)
        uses = tuple(
            Use(known.operation, seen.times, seen.live, there(seen.at))
            for known, seen in self._seen.items()
        )
        return Count(uses, self._weights, self._inputs, self._calls, self._views)

    def _there(self, gradients: Iterable[Tensor]) -> Callable[[int], int]:
        """Tells the bytes of these tensors that were there after a number of calls."""
        places = {tensor.untyped_storage()._cdata for tensor in gradients}
        living = [one for one in self._living.values() if one.place in places]
        living.sort(key=lambda one: one.since)
        born = [one.since for one in living]
        sums = list(itertools.accumulate((one.bytes for one in living), initial=0))
        return lambda calls: sums[bisect.bisect_right(born, calls)]

    def _hold(self, tensors: Iterable[Tensor]) -> int:
        before = self._live
        for tensor in tensors:
            self._follow(tensor)
        return self._live - before

    def _follow(self, tensor: Tensor) -> None:
        if not tensor.is_meta:
            return
        storage = tensor.untyped_storage()
        place = storage._cdata
        if place in self._living:
            return
        one = self._living[place] = _Storage(storage, self._gone)
        one.bytes, one.place, one.since = storage.nbytes(), place, self._calls
        self._live += one.bytes

    def _forget(self, one: Any) -> None:
        self._live -= one.bytes
        del self._living[one.place]

    def _note(self, known: Known) -> None:
        seen = self._seen.get(known)
        if seen is None:
            seen = self._seen[known] = _Seen()
        seen.times += 1
        if self._live > seen.live:
            seen.live, seen.at = self._live, self._calls


_VIEWS: dict[int, bool] = {}


def _is_view(func: Any) -> bool:
    """Whether an operation makes no memory of its own, by what its schema says."""
    # an overload lives as long as torch does, and its own hash is slow
    known = _VIEWS.get(id(func))
    if known is None:
        returns = func._schema.returns
        aliases = [one.alias_info for one in returns]
        known = _VIEWS[id(func)] = all("Tensor" not in str(one.type) for one in returns) or all(
            alias is not None and not alias.is_write for alias in aliases
        )
    return known
