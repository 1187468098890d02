"""SSIM of one slice by region: the whole image, inside the foreground, or in lesion boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from dealias.metrics.similarity import WINDOW, ssim_map
from dealias.scan.scan import Box

Region = Literal["whole image", "zeroed background", "inside foreground", "boxes"]
USES_FOREGROUND: tuple[Region, ...] = ("zeroed background", "inside foreground")


class RegionScore(NamedTuple):
    """SSIM of a slice, and how many regions it is the mean of; None and 0 where there is none."""

    ssim: float | None
    regions: int


def whole(x_HW: Tensor, y_HW: Tensor, span: float) -> RegionScore:
    """Plain mean of the whole map."""
    return RegionScore(float(ssim_map(x_HW, y_HW, span).mean()), 1)


def inside(x_HW: Tensor, y_HW: Tensor, span: float, foreground_HW: Tensor) -> RegionScore:
    """Mean of the map inside the foreground, which loses the window's pad as the map does.

    Args:
        x_HW: Image, its background already zero.
        y_HW: Reference, likewise.
        span: Data range.
        foreground_HW: bool.

    Returns:
        The score; None where the trimmed foreground is empty.
    """
    pad = WINDOW // 2
    trimmed = foreground_HW[pad:-pad, pad:-pad]
    if not bool(trimmed.any()):
        return RegionScore(None, 0)
    return RegionScore(float(ssim_map(x_HW, y_HW, span)[trimmed].mean()), 1)


def in_boxes(x_HW: Tensor, y_HW: Tensor, span: float, boxes: Sequence[Box]) -> RegionScore:
    """Mean over boxes of SSIM on the box's crop; one smaller than the window is skipped.

    Args:
        x_HW: Image.
        y_HW: Reference.
        span: Data range.
        boxes: Boxes of this slice, cut at the image's edges.

    Returns:
        The score and the number of boxes that count.
    """
    values = []
    for box in boxes:
        rows = slice(max(0, box.y), max(0, box.y + box.height))
        columns = slice(max(0, box.x), max(0, box.x + box.width))
        x, y = x_HW[rows, columns], y_HW[rows, columns]
        if min(x.shape) >= WINDOW:
            values.append(float(ssim_map(x, y, span).mean()))
    return RegionScore(sum(values) / len(values) if values else None, len(values))
