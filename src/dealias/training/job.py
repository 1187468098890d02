"""Everything that a training needs, and what it tells of its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dealias.data.augment import UNAUGMENTED, AugmentSettings
from dealias.data.remask import MaskSettings
from dealias.engine.policies import MemoryPolicy
from dealias.engine.ranks import ALONE, Ranks
from dealias.metrics.protocol import ScoringProtocol
from dealias.models.network import Trainable
from dealias.scan.scan import Scan
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.reconstruction import ReconstructionTask
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings
from dealias.training.task import Task


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: From 0.
        epochs: In all.
        step: Optimiser steps done.
        steps: In all.
        loss: Mean of the epoch so far.
        total: The last validation's, or None.
        doing: "training" or "validating".
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    total: float | None
    doing: str


@dataclass(frozen=True)
class TrainingJob:
    """Everything a training needs; see the settings classes for their meaning.

    Attributes:
        folder: RUN/main.
        stop: Polled at each step and each validated slice; a reason stops the run.
        time_limit: Seconds, or None.
        progress: Told of every step.
        warn: Told of everything that is not as it should be.
        recorded: Settings, as they go into each checkpoint's manifest.
        memory: The policy that was applied to the network; here it decides about the optimiser.
        ranks: Which train together; the first one writes.
        augment: How images of training samples are augmented.
        other: Another task than reconstruction, for which loss and protocol play no part.
    """

    network: Trainable
    masks: MaskSettings
    loss: LossSettings
    optimiser: OptimiserSettings
    schedule: ScheduleSettings
    training: TrainingSettings
    train_scans: tuple[Scan, ...]
    val_scans: tuple[Scan, ...]
    protocol: ScoringProtocol
    folder: Path
    device: torch.device
    stop: Callable[[], str | None] = lambda: None
    time_limit: float | None = None
    progress: Callable[[Progress], None] = lambda progress: None
    warn: Callable[[str], None] = lambda text: None
    recorded: dict[str, Any] = field(default_factory=dict)
    memory: MemoryPolicy = MemoryPolicy()
    ranks: Ranks = ALONE
    augment: AugmentSettings = UNAUGMENTED
    other: Task | None = None

    @property
    def task(self) -> Task:
        """What the network is trained for."""
        return self.other or ReconstructionTask(self.loss, self.protocol)
