"""Where physics ends and a network of real tensors begins: a precision and a runner of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dealias.models.network import Runner, plain


class Border(nn.Module):
    """A network of real tensors in a precision of its own; what comes out is in that of the input.

    Args:
        network: Its layers compute in the precision of what they are given, as those of
            `layers.convolution` do. It may take more than a tensor, and give more in a tuple.
        small: Whether it is not worth one of the few graphs that may be compiled: it just runs.

    Attributes:
        compute_dtype: The network's precision; None keeps the input's.
        runner: Runs the network, unless it is small: plain, or compiled.
    """

    def __init__(self, network: nn.Module, small: bool = False) -> None:
        super().__init__()
        self.network, self.small = network, small
        self.compute_dtype: torch.dtype | None = None
        self.runner: Runner = plain

    def forward(self, x: Tensor, *context: Any) -> Any:
        """What the network gives for x; context is handed over as it is."""
        y, *others = self._run(x, *context)
        return (y, *others) if others else y

    def _run(self, x: Tensor, *context: Any) -> tuple[Any, ...]:
        dtype = x.dtype if self.compute_dtype is None else self.compute_dtype
        run = plain if self.small else self.runner
        out = run(self.network, x.to(dtype), *context)
        y, *others = out if isinstance(out, tuple) else (out,)
        return y.to(x.dtype), *others
