"""Days and deadlines of a plan, for a person."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from dealias.cli.plan_table import said_time

if TYPE_CHECKING:
    from dealias.runs.deadline import Deadline
    from dealias.runs.plan_stages import Within
    from dealias.runs.preparation import Preparation

_UNKNOWN = "unknown, as the time is"


def said_days(some: Within | None) -> str:
    """What some days are enough for."""
    if some is None:
        return _UNKNOWN
    what = said_time(some.seconds) if some.wanted is None else f"{some.wanted} epochs"
    if some.fits:
        return f"{what} fit {some.days:g} days"
    less = f"{some.share:.0%} of each training's epochs would"
    if some.epochs is not None:
        less = f"training.epochs={some.epochs} would" if some.epochs else "not one epoch would"
    text = f"{what} do NOT fit {some.days:g} days; {less}"
    if some.smaller_seconds is None:
        return text
    return f"{text}, or all of {' '.join(some.overrides)} (about {said_time(some.smaller_seconds)})"


def said_deadline(due: Deadline | None, epochs: int | None) -> list[str]:
    """When a run must start, in one line or two.

    Args:
        due: The deadline, or None where no time is known.
        epochs: Of a recipe without stages.
    """
    if due is None:
        return [_UNKNOWN]
    takes = f"{said_time(due.seconds)} of training, validation and an evaluation"
    if due.too_late:
        rest = f"{due.share:.0%} of the epochs"
        if epochs is not None:
            rest = f"training.epochs={int(due.share * epochs)}"
        return [f"{_moment(due.due)} is too late for {takes}: it must have started by "
                f"{_moment(due.latest)}; begun now, {rest} would do"]  # fmt: skip
    gone = ", which has passed" if due.now > due.careful else ""
    return [
        f"{_moment(due.due)}: {takes} must start by {_moment(due.latest)},",
        f"by {_moment(due.careful)} with a reserve of {due.reserve:.0%} for reading, restarts and "
        f"whoever else uses the machine{gone}",
    ]


def said_maps(found: Preparation) -> str:
    """What maps cost that the times leave out."""
    return (
        f"ESPIRiT's maps are made on the CPU by {found.workers} workers, {said_time(found.seconds)}"
        f" a sample here: one every {said_time(found.each)} at best; in no time or memory above"
    )


def _moment(when: datetime.datetime) -> str:
    """Local time; midnight as the end of the day before."""
    local = when.astimezone()
    if (local.hour, local.minute) == (0, 0):
        return f"{local - datetime.timedelta(days=1):%Y-%m-%d} 24:00"
    return f"{local:%Y-%m-%d %H:%M}"
