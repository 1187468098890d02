"""Lesion boxes of the 2026 challenge: JSON in the attribute `annotations` of an image file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dealias.errors import DataError
from dealias.io.guard import open_guarded
from dealias.io.text import read_text
from dealias.scan.scan import Box

ATTRIBUTE = "annotations"
MAX_BYTES = 1 << 20
_EXPECTED = '{"SLICE": [{"x", "y", "width", "height", "label"}, ...]}'


def read_boxes(path: Path, slices: int) -> tuple[Box, ...]:
    """Boxes of an image file, none if it has no annotations.

    Args:
        path: The image file.
        slices: Z of the volume.

    Returns:
        Boxes in pixels of the target's grid, ordered by slice.

    Raises:
        DataError: The annotations are no such JSON, or name a slice that does not exist.
    """
    with open_guarded(path) as file:
        if not file.has_attribute(ATTRIBUTE):
            return ()
        fixed = file.text(ATTRIBUTE)
    text = (
        fixed.encode() if fixed is not None else read_text(path, "attribute", ATTRIBUTE, MAX_BYTES)
    )
    return parse_boxes(f"{path}: attribute '{ATTRIBUTE}'", text, slices)


def parse_boxes(where: str, text: bytes, slices: int) -> tuple[Box, ...]:
    """Boxes from the JSON text."""
    try:
        values = json.loads(text)
        by_slice = {int(z): many for z, many in values.items()}
        found = [_box(z, one) for z, many in by_slice.items() for one in many]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found_text = f"other JSON ({type(error).__name__}: {str(error)[:60]})"
        raise DataError(where, found_text, _EXPECTED, "check how it was written") from None
    outside = [box.slice for box in found if not 0 <= box.slice < slices]
    if outside:
        raise DataError(where, f"slice {outside[0]}", f"0 to {slices - 1}", "check the pairing")
    return tuple(sorted(found, key=lambda box: box.slice))


def _box(z: int, values: dict[str, Any]) -> Box:
    sides = [values[key] for key in ("x", "y", "width", "height")]
    if not all(isinstance(side, int | float) and math.isfinite(side) for side in sides):
        raise ValueError("sides are no numbers")
    x, y, width, height = (int(side) for side in sides)
    return Box(z, x, y, width, height, str(values.get("label", "")))
