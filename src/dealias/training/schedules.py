"""Learning-rate schedules as pure functions of the epoch: nothing to save, nothing to drift."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ScheduleSettings(BaseModel):
    """A factor on the learning rate by epoch.

    Attributes:
        name: "constant"; "step": times gamma every `size` epochs after `start`;
            "linear-constant-step": a linear warm-up from `warm_from` over `warm_epochs`, constant
            until `start`, then steps; "cosine": from 1 to `floor` over the run.
        start: Epoch from which steps are counted.
        size: Epochs between steps.
        gamma: Factor of a step.
        warm_epochs: Epochs of warm-up.
        warm_from: Factor at its beginning.
        floor: Factor at the end of a cosine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["constant", "step", "linear-constant-step", "cosine"] = "constant"
    start: int = Field(default=0, ge=0)
    size: int = Field(default=10, ge=1)
    gamma: float = Field(default=0.3, gt=0, le=1)
    warm_epochs: int = Field(default=3, ge=1)
    warm_from: float = Field(default=0.1, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)


def lr_factor(settings: ScheduleSettings, epoch: int, progress: float) -> float:
    """The factor on the learning rate.

    Args:
        settings: Which schedule.
        epoch: From 0; steps and warm-up change between epochs.
        progress: Share of the whole run that is done, 0..1; the cosine follows it.

    Returns:
        The factor.
    """
    if settings.name == "constant":
        return 1.0
    if settings.name == "cosine":
        wave = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return settings.floor + (1 - settings.floor) * wave
    if settings.name == "linear-constant-step" and epoch < settings.warm_epochs:
        return settings.warm_from + (1 - settings.warm_from) * epoch / settings.warm_epochs
    return settings.gamma ** (max(0, epoch - settings.start) // settings.size)
