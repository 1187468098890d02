"""What is trained: a loss, and a validation that says which epoch is best.

The loop knows no more of it: steps, ranks, checkpoints, schedules and averages are all tasks'.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from dealias.data.remask import MaskSettings
from dealias.data.samples import Batch
from dealias.evaluation.scores import Scores
from dealias.faults import fault
from dealias.models.network import Trainable
from dealias.scan.scan import Scan
from dealias.training.stops import Stops


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        scores: Their total says which epoch is best: the larger, the better.
        worst: Worst slices first: (facts, zero-filled, reconstruction, reference); none where there
            is nothing to see.
        loss: Mean over slices, or None where it is not made.
        more: Of the row in metrics.jsonl besides loss, total and cells.
    """

    scores: Scores
    worst: list[tuple[dict[str, Any], Any, Any, Any]] = field(default_factory=list)
    loss: float | None = None
    more: dict[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """What a network is trained for."""

    @property
    def area(self) -> bool:
        """Whether the loss counts samples by how much anatomy they show."""
        ...

    def loss(self, network: Trainable, batch: Batch, device: torch.device, epoch: int) -> Tensor:
        """The loss of each item of a batch, (B,), from k-space on.

        Args:
            network: In training mode, on the device.
            batch: Anywhere.
            device: Where.
            epoch: Of the run.
        """
        ...

    def validate(
        self, network: Trainable, scans: Sequence[Scan], masks: MaskSettings, seed: int,
        device: torch.device, stops: Stops,
    ) -> Validation:  # fmt: skip
        """Judge a network on all validation scans, each on one rank.

        Args:
            network: Its mode is restored afterwards.
            scans: Each is seen through its own mask; one without is masked by the recipe's kind of
                masks, by the same draw every time.
            masks: For scans without a mask.
            seed: The run's.
            device: Where the network is.
            stops: Asked after each slice; knows the ranks.

        Returns:
            The same on every rank and for any number of them.

        Raises:
            DataError: A scan cannot be judged.
            Stopped: As asked.
            Broken: A rank has left.
        """
        ...


@contextlib.contextmanager
def judging(network: Trainable, stops: Stops) -> Iterator[None]:
    """Around what this rank judges: the network is in eval mode, and a stop is everyone's.

    Raises:
        Stopped: As asked.
        Broken: A rank has left.
    """
    training = network.training
    network.eval()
    try:
        with stops.everywhere():
            yield
    finally:
        network.train(training)


def this_ranks(scans: Sequence[Scan], stops: Stops) -> Iterator[tuple[int, Scan]]:
    """The scans that this rank judges, with their place among all of them."""
    for index in stops.ranks.deal([math.prod(scan.shape) for scan in scans]):
        yield index, scans[index]


def poll(stops: Stops) -> None:
    """What is called after each slice.

    Raises:
        Stopped: There is a reason.
    """
    fault("validation")
    stops.here()
