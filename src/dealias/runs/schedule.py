"""How long training takes: steps, epochs, days."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from dealias.runs.size import Size
from dealias.training.settings import TrainingSettings

DAY = 86_400.0


@dataclass(frozen=True)
class Schedule:
    """Times in seconds, None where unknown. Reading data and scoring are not in them.

    Attributes:
        step: Of one optimiser step.
        slice: Of one reconstruction.
        steps: Of an epoch.
        epochs: In all.
        epoch: With its share of the validations; as if all slices were as large as the largest.
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
        """From the times of one step and one slice."""
        together = training.batch_size * training.accumulation
        steps = None if size.slices is None else math.ceil(size.slices / together)
        epoch = total = None
        if steps is not None and step is not None and slice is not None:
            epoch = steps * step + size.val_slices * slice / training.validate_every
            total = epoch * training.epochs
        return cls(step, slice, steps, training.epochs, epoch, total)

    def epochs_in(self, days: float) -> int | None:
        """Whole epochs that some days are enough for."""
        return None if self.epoch is None else int(days * DAY / self.epoch)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)
