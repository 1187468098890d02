"""From a count, and what a device's operations cost, to memory and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dealias.engine.ceilings import Ceilings
from dealias.engine.count import Count, Use
from dealias.engine.operation import Operation
from dealias.engine.workspace import Cost

CostOf = Callable[[Operation], Cost | None]


@dataclass(frozen=True)
class Forecast:
    """What a computation will need on a device; sizes in bytes, at the moment of the peak.

    Attributes:
        weights: Parameters and buffers.
        gradients: Of parameters.
        inputs: The batch.
        activations: All else that lives.
        transients: Hidden buffers of the operation that runs.
        flops: In all, of convolutions, matrix products and Fourier transforms.
        bytes: In all, taken and given by operations.
        calls: Operations, views apart.
        seconds: Or None where neither the operations nor the device's ceilings were measured.
        unmeasured: Distinct operations whose buffers are a stated margin (see `margin`).
    """

    weights: int
    gradients: int
    inputs: int
    activations: int
    transients: int
    flops: float
    bytes: int
    calls: int
    seconds: float | None
    unmeasured: int

    @property
    def peak(self) -> int:
        """Most bytes at any time."""
        parts = self.weights, self.gradients, self.inputs, self.activations, self.transients
        return sum(parts)


def forecast(count: Count, cost: CostOf, ceilings: Ceilings | None) -> Forecast:
    """Add what is hidden to what was counted.

    Args:
        count: What lives, operation by operation.
        cost: Of an operation on the device, or None where it was not measured.
        ceilings: Of the device, or None.

    Returns:
        The forecast.
    """
    costs = [cost(use.operation) for use in count.uses]
    hidden = [
        margin(use.operation) if one is None else one.hidden
        for use, one in zip(count.uses, costs, strict=True)
    ]
    last, transients = max(
        zip(count.uses, hidden, strict=True), key=lambda pair: pair[0].live + pair[1]
    )
    activations = last.live - count.weights - count.inputs - last.gradients
    return Forecast(
        count.weights, last.gradients, count.inputs, activations, transients, count.flops,
        count.bytes, count.calls, _seconds(count, costs, ceilings), costs.count(None),
    )  # fmt: skip


def margin(operation: Operation) -> int:
    """Hidden bytes of an operation that was not measured: a copy of all that a convolution sees.

    Copies to another layout are what kernels hide as a rule; other operations hide little.
    """
    return operation.bytes if "convolution" in operation.key else 0


def _seconds(count: Count, costs: list[Cost | None], ceilings: Ceilings | None) -> float | None:
    if None in costs and ceilings is None:
        return None
    work = sum(_of(use, one, ceilings) for use, one in zip(count.uses, costs, strict=True))
    if ceilings is None:
        return work
    beside = sum(use.times * ceilings.beside(use.operation.bytes) for use in count.uses)
    return work + beside * (1 + count.views / max(1, count.calls))  # views lie among the others


def _of(use: Use, cost: Cost | None, ceilings: Ceilings | None) -> float:
    if cost is not None:
        return use.times * cost.seconds
    if ceilings is None:
        return 0.0
    return use.times * ceilings.floor(use.operation.flops, use.operation.bytes)
