"""Stopping early: what the validation must have reached by some epochs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator

Stages = tuple[tuple[int, float], ...]


def _in_order(stages: Stages) -> Stages:
    if any(second <= first for first, second in pairwise((0, *(epoch for epoch, _ in stages)))):
        raise ValueError("[epochs, total] pairs in order, such as [[10, 0.958], [20, 0.962]]")
    return stages


EarlyStop = Annotated[Stages, AfterValidator(_in_order)]
"""(epochs done, total that some validation must have reached by then) pairs, in order."""


def missed(stages: Stages, epoch: int, totals: Mapping[int, float]) -> str | None:
    """Why a run is to stop; a pure function, so that a resumed run comes to the same end.

    Args:
        stages: What must be reached.
        epoch: Epochs done.
        totals: Each validation's, by its epoch from 0. Without any there is nothing to judge.

    Returns:
        The reason, or None.
    """
    for by, least in stages:
        found = [total for at, total in totals.items() if at < by]
        if by <= epoch and found and not any(total >= least for total in found):
            return f"the best validation of {by} epochs is {max(found):.4f}, not {least:g}"
    return None
