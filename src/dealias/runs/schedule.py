"""How long training takes: steps, epochs, days."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from dealias.runs.size import Size
from dealias.training.accumulation import batches_at
from dealias.training.settings import TrainingSettings

DAY = 86_400.0


@dataclass(frozen=True)
class Schedule:
    """Times in seconds, None where unknown. Reading data and scoring are not in them.

    Attributes:
        step: Of one optimiser step of the first epoch.
        slice: Of one reconstruction.
        steps: Of an epoch; the mean where accumulation changes by epoch, rounded up.
        epochs: In all.
        epoch: With its share of the validations; as if all slices were as large as the largest, and
            the mean where accumulation changes.
        total: Of all epochs.
    """

    step: float | None
    slice: float | None
    steps: int | None
    epochs: int
    epoch: float | None
    total: float | None

    @classmethod
    def of(
        cls, training: TrainingSettings, size: Size, step: float | None, slice: float | None
    ) -> Schedule:
        """From the times of one step, as of the first epoch's accumulation, and one slice."""
        steps = None if size.slices is None else _steps(training, size.slices)
        mean = epoch = total = None
        if steps is not None:
            mean = math.ceil(sum(steps) / len(steps))
        if steps is not None and step is not None and slice is not None:
            # a step takes as long as its batches do
            batches = [batches_at(training.accumulation, at) for at in range(training.epochs)]
            work = sum(n * step * b / batches[0] for n, b in zip(steps, batches, strict=True))
            epoch = work / training.epochs + size.val_slices * slice / training.validate_every
            total = epoch * training.epochs
        return cls(step, slice, mean, training.epochs, epoch, total)

    def epochs_in(self, days: float) -> int | None:
        """Whole epochs that some days are enough for."""
        return None if self.epoch is None else int(days * DAY / self.epoch)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def _steps(training: TrainingSettings, slices: int) -> list[int]:
    """Optimiser steps of each epoch."""
    batches = (batches_at(training.accumulation, epoch) for epoch in range(training.epochs))
    return [math.ceil(slices / (training.batch_size * one)) for one in batches]
