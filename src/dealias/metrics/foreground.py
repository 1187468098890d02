"""The challenge's foreground: a threshold, then erosion, dilation, erosion; without OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

THRESHOLDS = {"brain": 5e-5, "knee": 2e-5}
"""The challenge's absolute thresholds on the target, by anatomy."""

_ERODE_FIRST, _DILATE, _ERODE_LAST = 1, 15, 14


def foreground(target_HW: npt.NDArray[Any], threshold: float) -> npt.NDArray[np.bool_]:
    """Where the anatomy is.

    OpenCV's erode x1, dilate x15, erode x14 with a 3x3 kernel of ones and its default borders; n
    passes of a 3x3 box equal one pass of a (2n+1) box when outside the image counts as inside for
    erosion and as outside for dilation.

    Args:
        target_HW: Magnitude image (H, W).
        threshold: In the image's units; pixels above it are anatomy.

    Returns:
        (H, W) bool.
    """
    above = (np.asarray(target_HW) > threshold).astype(np.uint8)
    eroded = _box(ndimage.minimum_filter, above, _ERODE_FIRST, outside=1)
    dilated = _box(ndimage.maximum_filter, eroded, _DILATE, outside=0)
    return _box(ndimage.minimum_filter, dilated, _ERODE_LAST, outside=1).astype(bool)


def _box(filter_: Any, image: npt.NDArray[np.uint8], passes: int, outside: int) -> Any:
    return filter_(image, size=2 * passes + 1, mode="constant", cval=outside)
