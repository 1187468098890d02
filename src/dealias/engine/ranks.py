"""Ranks: the processes of one run, and what they do together.

Gradients are summed after the last batch of a step, in buckets, by a plain all-reduce and not by
DistributedDataParallel. That one starts to sum inside the backward pass, so that every rank must
run every one: a rank that has no batch left, or whose loss is not finite, or that does not use a
parameter, would leave the others waiting. Here each step has the same few meetings whatever its
batches are, all of them before the weights change, and recomputation and offload see nothing of it.
The price is that the sum does not overlap with the backward pass; over a slow network a larger
`training.accumulation` makes it rarer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dealias.engine.roll import Roll
from dealias.errors import no_memory

T = TypeVar("T")
BUCKET = 32 << 20
"""Bytes of gradients that are summed at once: the memory that it takes, and the buffer."""


class Broken(Exception):
    """A rank has left; raised by whatever the ranks do together, where nothing is half done."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run; `ALONE` waits for nobody.

    Attributes:
        rank: From 0. The first one alone writes files and speaks.
        size: How many there are.
        roll: Where ranks are sought when one has left; None alone.
    """

    rank: int = 0
    size: int = 1
    roll: Roll | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and speaks."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> None:
        """Sum a tensor over all ranks, in place; the same bits on each.

        Raises:
            Broken: A rank has left.
        """
        if self.size > 1:
            self._together(lambda: dist.all_reduce(tensor))

    def add_each(self, tensors: Sequence[Tensor]) -> None:
        """Sum each of many tensors over all ranks, in place.

        Raises:
            Broken: A rank has left.
        """
        for bucket in _buckets(tensors) if self.size > 1 else ():
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            self.add(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in their order, on each.

        Raises:
            Broken: A rank has left.
        """
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        self._together(lambda: dist.all_gather_object(values, value))
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, on each.

        Raises:
            Broken: A rank has left.
        """
        made = [make() if self.first else None]
        if self.size > 1:
            self._together(lambda: dist.broadcast_object_list(made, src=0))
        return made[0]  # type: ignore[return-value]

    def odd(self, make: Callable[[], object]) -> list[int]:
        """Ranks whose value is another than rank 0's: none alone, where nothing is made.

        Raises:
            Broken: A rank has left.
        """
        values = self.gather(make()) if self.size > 1 else []
        return [rank for rank, value in enumerate(values) if value != values[0]]

    def agreed(self, reason: str | None) -> str | None:
        """A reason that any rank has: all get the same one, or None.

        Raises:
            Broken: A rank has left.
        """
        asked = torch.tensor(float(reason is not None))
        self.add(asked)
        # only where there is one: texts cost more than a number, and this is asked at every step
        return next(filter(None, self.gather(reason))) if asked else None

    def wait(self) -> None:
        """Until all are here.

        Raises:
            Broken: A rank has left.
        """
        self.add(torch.zeros(1))

    def deal(self, costs: Sequence[int]) -> list[int]:
        """Indices of this rank's items: the dearest first, each to who has least so far."""
        loads = [(0, rank) for rank in range(self.size)]
        mine = []
        for index in sorted(range(len(costs)), key=lambda i: -costs[i]):
            load, rank = heapq.heappop(loads)
            heapq.heappush(loads, (load + costs[index], rank))
            if rank == self.rank:
                mine.append(index)
        return sorted(mine)

    def _together(self, meet: Callable[[], object]) -> None:
        try:
            meet()
            return
        except RuntimeError as error:
            # a loader's dead worker is told by a signal handler, wherever the process is
            if "DataLoader worker" in str(error) or no_memory(error):
                raise
            said = str(error)
        # outside the except: the error holds the connections, which are now to close
        if self.roll is not None:
            self.roll.answer()
        raise Broken(said)


ALONE = Ranks()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(one.nbytes for one in bucket) + tensor.nbytes > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
