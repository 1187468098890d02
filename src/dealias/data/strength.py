"""How strongly training data are varied, by epoch: a pure function, nothing to save but the losses.

One type serves image augmentation (the factor on each transform's probability) and mask
augmentation (the probability of another mask).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

NEVER = 0.0


class Strengths(NamedTuple):
    """The strengths of one epoch, 0..1, which travel to the workers with a sample's index.

    Attributes:
        augment: Of image augmentation.
        masks: Of mask augmentation.
    """

    augment: float = 1.0
    masks: float = 1.0


FULL = Strengths()


class StrengthSettings(BaseModel):
    """A strength by epoch.

    Attributes:
        kind: "constant"; "linear" and "exponential" rise from 0 at `delay` to the maximum at
            `until`; "slope" follows the validation loss: the flatter it gets, the stronger;
            "points" joins given points by straight lines.
        maximum: The highest strength.
        delay: Nothing before this epoch; what rises is still 0 in it.
        until: Epoch in which what rises reaches the maximum.
        hold: Epoch whose strength is kept from then on, also before `until`; None for no such.
        decay: How bent the exponential rise is: it is (1 - exp(-decay t)) / (1 - exp(-decay)) over
            t in 0..1.
        window: Validations over which "slope" fits a line.
        steep: Change of the loss per validation at which the strength is 0, and
        flat: at which it is the maximum; between them it rises exponentially.
        points: (epoch, strength), in order; constant before the first and after the last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["constant", "linear", "exponential", "slope", "points"] = "constant"
    maximum: float = Field(default=1.0, ge=0, le=1)
    delay: int = Field(default=0, ge=0)
    until: int | None = Field(default=None, ge=1)
    hold: int | None = Field(default=None, ge=0)
    decay: float = Field(default=5.0, gt=0)
    window: int = Field(default=5, ge=2)
    steep: float = -0.05
    flat: float = -0.001
    points: tuple[tuple[int, float], ...] = ()

    @model_validator(mode="after")
    def _is_complete(self) -> StrengthSettings:
        if self.kind in ("linear", "exponential") and (self.until or 0) <= self.delay:
            raise ValueError(f"kind={self.kind} needs until, an epoch after delay={self.delay}")
        if self.kind == "slope" and not self.steep < self.flat:
            raise ValueError("steep must be below flat: a loss that falls faster is steeper")
        if self.kind == "slope" and self.hold is not None:
            raise ValueError("hold keeps an epoch's strength, and kind=slope goes by the loss")
        if (self.kind == "points") != bool(self.points):
            raise ValueError("kind=points and points go together: set both or neither")
        if any(right[0] <= left[0] for left, right in pairwise(self.points)):
            raise ValueError("points must be in order of their epochs")
        if any(not 0 <= value <= 1 for _, value in self.points):
            raise ValueError("the strength of a point must lie in 0..1")
        return self


def strength(settings: StrengthSettings, epoch: int, losses: Sequence[float] = ()) -> float:
    """The strength in an epoch.

    Args:
        settings: Which rule.
        epoch: From 0.
        losses: Validation losses of the run before this epoch, one for each validation; only
            "slope" asks for them.

    Returns:
        0..maximum, or what the points say; "slope" is 0 until its window is full.
    """
    if settings.hold is not None:
        epoch = min(epoch, settings.hold)
    if epoch < settings.delay:
        return NEVER
    if settings.kind == "points":
        epochs, values = zip(*settings.points, strict=True)
        return float(np.interp(epoch, epochs, values))
    return settings.maximum * _share(settings, epoch, losses)


def _share(settings: StrengthSettings, epoch: int, losses: Sequence[float]) -> float:
    """Share of the maximum, 0..1."""
    if settings.kind == "constant":
        return 1.0
    if settings.kind == "slope":
        return _bent(settings.decay, _flatness(settings, losses))
    until = settings.until or epoch
    done = min(1.0, (epoch - settings.delay) / max(1, until - settings.delay))
    return done if settings.kind == "linear" else _bent(settings.decay, done)


def _bent(decay: float, done: float) -> float:
    return math.expm1(-decay * done) / math.expm1(-decay)


def _flatness(settings: StrengthSettings, losses: Sequence[float]) -> float:
    """Where the loss's slope lies between steep (0) and flat (1), by a line of least squares."""
    recent = np.asarray(losses[-settings.window :], dtype=np.float64)
    if len(recent) < settings.window or not np.isfinite(recent).all():
        return 0.0
    place = np.arange(settings.window) - (settings.window - 1) / 2
    slope = float(place @ recent / (place @ place))
    share = (slope - settings.steep) / (settings.flat - settings.steep)
    return min(1.0, max(0.0, share))
