"""Running means of batch norm (Ioffe, Szegedy 2015, arXiv 1502.03167), which a forward pass moves.

They are weights like others: a step that is not taken leaves them as they were, and ranks end it
with the same ones, those of one rank that saw all batches in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dealias.engine.ranks import Ranks


class RunningMeans:
    """The running means and variances of a network, if it has any.

    Args:
        network: Whose.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
        self._norms = [norm for norm in norms if norm.running_mean is not None]
        self._before: list[Tensor] = []

    @contextlib.contextmanager
    def undone(self) -> Iterator[Callable[[bool], None]]:
        """Around a step: what it moved is put back unless it is said that the step was taken."""
        self._before = [one.clone() for one in self._buffers()]
        taken = [False]
        try:
            yield lambda applied: taken.__setitem__(0, applied)
        finally:
            if not taken[0]:
                for one, before in zip(self._buffers(), self._before, strict=True):
                    one.copy_(before)

    def join(self, count: int, ranks: Ranks) -> None:
        """Move on by what all ranks saw, as one rank would have that saw it in their order.

        Each batch moves a running value r to q r + (1 - q) b: what a rank came to after n batches
        is q^n r plus something of its batches alone.

        Args:
            count: Batches that this rank saw.
            ranks: All of them.

        Raises:
            Broken: A rank has left.
        """
        if ranks.size == 1 or not self._norms:
            return
        flat = torch.cat([one.detach().double().flatten().cpu() for one in self._buffers()])
        everyones = torch.zeros(ranks.size, len(flat) + 1, dtype=torch.float64)
        everyones[ranks.rank] = torch.cat([flat, torch.tensor([count], dtype=torch.float64)])
        ranks.add(everyones)
        counts = [int(one) for one in everyones[:, -1]]
        sizes = [one.numel() for one in self._buffers()]
        parts = zip(*(row.split(sizes) for row in everyones[:, :-1]), strict=True)
        joined = zip(self._buffers(), self._before, parts, self._kept(), strict=True)
        for one, before, ends, share in joined:
            one.copy_(_followed(before.double().cpu().flatten(), ends, counts, share).view_as(one))

    def _buffers(self) -> list[Tensor]:
        found = [(n.running_mean, n.running_var, n.num_batches_tracked) for n in self._norms]
        return [one for three in found for one in three if one is not None]

    def _kept(self) -> list[float]:
        """Of each buffer, the share that a batch leaves of it; a count only grows."""
        shares = [1 - (norm.momentum or 0.0) for norm in self._norms]
        return [one for share in shares for one in (share, share, 1.0)]


def _followed(before: Tensor, ends: tuple[Tensor, ...], counts: list[int], share: float) -> Tensor:
    """Ranks' ways from one value, one after the other."""
    value = before
    for end, count in zip(ends, counts, strict=True):
        value = end + share**count * (value - before)
    return value
