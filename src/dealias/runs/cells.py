"""The part of a data set that belongs to one cell: one anatomy at one acceleration."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dealias.data.remask import MaskSettings
from dealias.errors import DataError
from dealias.scan.scan import Cell, Scan


def cells_of(scans: Sequence[Scan], masks: MaskSettings) -> tuple[Cell, ...]:
    """The cells that a training set has.

    Args:
        scans: With labels.
        masks: Where these are drawn, each scan is of every acceleration that they are drawn at;
            else it is of its own mask's.

    Returns:
        The cells, sorted.

    Raises:
        DataError: A scan has no label.
    """
    own = {_label(scan) for scan in scans}
    if may_be_own(masks):
        return tuple(sorted(own))
    rates = masks.accelerations
    return tuple(sorted({Cell(cell.anatomy, rate) for cell in own for rate in rates}))


def trained_in(cell: Cell, scans: Sequence[Scan], masks: MaskSettings) -> tuple[Scan, ...]:
    """The scans that a cell's training sees: of its anatomy, and never at another acceleration."""
    if may_be_own(masks):
        return validated_in(cell, scans)
    return tuple(scan for scan in scans if _label(scan).anatomy == cell.anatomy)


def validated_in(cell: Cell, scans: Sequence[Scan]) -> tuple[Scan, ...]:
    """The scans that are scored in a cell: those whose label it is."""
    return tuple(scan for scan in scans if _label(scan) == cell)


def masks_in(cell: Cell, masks: MaskSettings) -> MaskSettings:
    """The masks that a cell's training draws: all at its acceleration."""
    mixture = tuple(one.model_copy(update={"accelerations": None}) for one in masks.mixture)
    rates = (cell.acceleration,)
    return masks.model_copy(update={"accelerations": rates, "mixture": mixture})


def may_be_own(masks: MaskSettings) -> bool:
    """Whether some sample may be seen through a mask that is not drawn."""
    return len(masks.families) < len(masks.kinds)


def _label(scan: Scan) -> Cell:
    if scan.cell is None:
        expected = "an anatomy and an acceleration, as attributes or in the challenge's names"
        do = "experts for each cell need them in training data"
        raise DataError(scan.name, "no label", expected, do)
    # it becomes the name of a folder and of an expert
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", scan.cell.anatomy):
        found = f"anatomy '{scan.cell.anatomy}'"
        raise DataError(scan.name, found, "a plain word such as brain", "write it again")
    return scan.cell
