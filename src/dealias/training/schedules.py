"""Learning-rate schedules as pure functions of where a run is: nothing to save, nothing to drift.

Plateau, which follows the validation, is one as well: of the list of its losses, which each
checkpoint holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Literal[
    "constant", "step", "multistep", "exponential", "linear-constant-step", "linear-cosine",
    "cosine", "cosine-restarts", "cyclic", "onecycle", "plateau",
]  # fmt: skip


class ScheduleSettings(BaseModel):
    """A factor on the learning rate by epoch.

    Attributes:
        name: "constant"; "step": times gamma every `size` epochs after `start`; "multistep": times
            gamma at each of `milestones`; "exponential": times gamma every epoch;
            "linear-constant-step": a linear warm-up from `warm_from` over `warm_epochs`, constant
            until `start`, then steps; "linear-cosine": that warm-up, then a cosine to `floor`;
            "cosine": from 1 to `floor`; "cosine-restarts": again and again, first over `period`
            epochs, each time over `multiplier` times as many; "cyclic": from `floor` to 1 and back
            in every `period`, half as high each time; "onecycle": up to `peak` in the share `rise`
            of the run and down to nearly 0, along cosines; "plateau": times gamma when the
            validation loss, 1 - total, has not fallen for more than `patience` validations.
        start: Epoch from which steps are counted.
        size: Epochs between steps.
        gamma: Factor of a step.
        milestones: Epochs of "multistep", in order.
        warm_epochs: Epochs of warm-up.
        warm_from: Factor at its beginning.
        floor: Smallest factor of cosines, cycles and plateaus.
        horizon: Epoch at which a cosine ends, perhaps one that the run does not reach; None for
            the last.
        period: Epochs of the first restart, or of each cycle.
        multiplier: See "cosine-restarts".
        peak: Largest factor of "onecycle", which begins at a 25th of it and ends at a 250,000th.
        rise: See "onecycle".
        patience: See "plateau".
        threshold: Share by which a loss must be below the lowest one to have fallen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = "constant"
    start: int = Field(default=0, ge=0)
    size: int = Field(default=10, ge=1)
    gamma: float = Field(default=0.3, gt=0, le=1)
    milestones: tuple[int, ...] = ()
    warm_epochs: int = Field(default=3, ge=1)
    warm_from: float = Field(default=0.1, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)
    horizon: int | None = Field(default=None, ge=1)
    period: int = Field(default=10, ge=1)
    multiplier: int = Field(default=1, ge=1)
    peak: float = Field(default=1.0, gt=0)
    rise: float = Field(default=0.3, gt=0, lt=1)
    patience: int = Field(default=5, ge=0)
    threshold: float = Field(default=1e-4, ge=0, lt=1)

    @field_validator("milestones")
    @classmethod
    def _in_order(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        if any(second <= first for first, second in pairwise((0, *milestones))):
            raise ValueError("epochs from 1, in order")
        return milestones

    @model_validator(mode="after")
    def _complete(self) -> ScheduleSettings:
        if self.name == "multistep" and not self.milestones:
            raise ValueError("multistep needs milestones, such as [10, 15]")
        return self


@dataclass(frozen=True)
class Moment:
    """Where a run is.

    Attributes:
        epoch: From 0.
        share: Of the epoch that is done, 0..1.
        epochs: Of the whole run.
        losses: Of the validations before this epoch, in order: 1 - total.
    """

    epoch: int
    share: float = 0.0
    epochs: int = 1
    losses: Sequence[float] = ()

    @property
    def done(self) -> float:
        """Epochs done, with the share of the current one."""
        return self.epoch + self.share


def lr_factor(settings: ScheduleSettings, moment: Moment) -> float:
    """The factor on the learning rate.

    Steps, warm-up and exponential change between epochs; cosines and cycles with every step.

    Args:
        settings: Which schedule.
        moment: Where the run is.

    Returns:
        The factor.
    """
    return _SCHEDULES[settings.name](settings, moment)


def _step(settings: ScheduleSettings, moment: Moment) -> float:
    return settings.gamma ** (max(0, moment.epoch - settings.start) // settings.size)


def _multistep(settings: ScheduleSettings, moment: Moment) -> float:
    return settings.gamma ** sum(moment.epoch >= one for one in settings.milestones)


def _exponential(settings: ScheduleSettings, moment: Moment) -> float:
    return settings.gamma**moment.epoch


def _warm(settings: ScheduleSettings, moment: Moment) -> float | None:
    """The factor of a warm-up, or None after it."""
    if moment.epoch >= settings.warm_epochs:
        return None
    return settings.warm_from + (1 - settings.warm_from) * moment.epoch / settings.warm_epochs


def _linear_constant_step(settings: ScheduleSettings, moment: Moment) -> float:
    warm = _warm(settings, moment)
    return _step(settings, moment) if warm is None else warm


def _linear_cosine(settings: ScheduleSettings, moment: Moment) -> float:
    warm = _warm(settings, moment)
    length = (settings.horizon or moment.epochs) - settings.warm_epochs
    # a run of the warm-up alone never comes to the cosine
    share = (moment.done - settings.warm_epochs) / max(length, 1)
    return _between(1.0, settings.floor, share) if warm is None else warm


def _cosine(settings: ScheduleSettings, moment: Moment) -> float:
    return _between(1.0, settings.floor, moment.done / (settings.horizon or moment.epochs))


def _cosine_restarts(settings: ScheduleSettings, moment: Moment) -> float:
    done, period = moment.done, settings.period
    while done >= period:
        done, period = done - period, period * settings.multiplier
    return _between(1.0, settings.floor, done / period)


def _cyclic(settings: ScheduleSettings, moment: Moment) -> float:
    cycles = int(moment.done // settings.period)
    height = 1 - abs(2 * (moment.done / settings.period - cycles) - 1)
    return settings.floor + (1 - settings.floor) * height / 2**cycles


def _onecycle(settings: ScheduleSettings, moment: Moment) -> float:
    share, rise, peak = moment.done / moment.epochs, settings.rise, settings.peak
    if share < rise:
        return _between(peak / 25, peak, share / rise)
    return _between(peak, peak / 250_000, (share - rise) / (1 - rise))


def _plateau(settings: ScheduleSettings, moment: Moment) -> float:
    lowest, waited, drops = math.inf, 0, 0
    for loss in moment.losses:
        if loss < lowest * (1 - settings.threshold):
            lowest, waited = loss, 0
            continue
        waited += 1
        if waited > settings.patience:
            drops, waited = drops + 1, 0
    return max(settings.floor, settings.gamma**drops)


def _between(first: float, last: float, share: float) -> float:
    """From one value to another along half a cosine."""
    wave = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return last + (first - last) * wave


_SCHEDULES: dict[Name, Callable[[ScheduleSettings, Moment], float]] = {
    "constant": lambda settings, moment: 1.0,
    "step": _step,
    "multistep": _multistep,
    "exponential": _exponential,
    "linear-constant-step": _linear_constant_step,
    "linear-cosine": _linear_cosine,
    "cosine": _cosine,
    "cosine-restarts": _cosine_restarts,
    "cyclic": _cyclic,
    "onecycle": _onecycle,
    "plateau": _plateau,
}
