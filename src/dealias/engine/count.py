"""What was counted of a computation."""

from __future__ import annotations

from dataclasses import dataclass

from dealias.engine.operation import Operation


@dataclass(frozen=True)
class Use:
    """What a count saw of one operation.

    Attributes:
        operation: Which.
        times: How often it ran.
        live: Most bytes that lived while it ran, all that it gave included.
        gradients: Those of parameters among them.
    """

    operation: Operation
    times: int
    live: int
    gradients: int


@dataclass(frozen=True)
class Count:
    """What a computation needs; sizes in bytes.

    Attributes:
        uses: Each distinct operation.
        weights: Of parameters and buffers.
        inputs: Of the batch.
        calls: Operations run, views apart.
        views: Operations that only look at memory in another way.
    """

    uses: tuple[Use, ...]
    weights: int
    inputs: int
    calls: int
    views: int

    @property
    def flops(self) -> float:
        """Of convolutions, matrix products and Fourier transforms."""
        return sum(use.times * use.operation.flops for use in self.uses)

    @property
    def bytes(self) -> int:
        """Taken and given by all operations."""
        return sum(use.times * use.operation.bytes for use in self.uses)

    @property
    def moved(self) -> int:
        """Taken and given by the operations without FLOPs, which memory alone limits."""
        plain = (use for use in self.uses if not use.operation.flops)
        return sum(use.times * use.operation.bytes for use in plain)

    @property
    def live(self) -> int:
        """Most bytes that lived at once."""
        return max((use.live for use in self.uses), default=self.weights + self.inputs)
