"""Whether a protocol can score this data: refusals that say what to do instead."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.metrics.foreground import THRESHOLDS
from dealias.metrics.similarity import WINDOW
from dealias.scan.scan import Scan

Images = npt.NDArray[Any]
PLAUSIBLE = (1e-5, 1e-1)
"""Largest target values to which the challenge's absolute thresholds can apply."""
_RANGE_FACTOR = 2.0
_OWN_UNITS = "give --foreground-threshold in this data's units"


def checked_target(recon_ZHW: Images, scan: Scan) -> Images:
    """The scan's target, once both images can be compared.

    Args:
        recon_ZHW: The reconstruction.
        scan: The scan.

    Returns:
        (Z, H, W) float32.

    Raises:
        DataError: No target, another shape, smaller than the window, no real numbers, NaN or
            infinity in either.
    """
    target_ZHW = scan.target(slice(None))
    if target_ZHW is None:
        do = "score against fully sampled data, or with image_label or reconstruction_rss"
        raise DataError(scan.name, "no target image", "a target to score against", do)
    if recon_ZHW.shape != target_ZHW.shape:
        found = f"a reconstruction of shape {recon_ZHW.shape}"
        raise DataError(scan.name, found, f"{target_ZHW.shape}", "reconstruct this data again")
    if target_ZHW.shape[0] == 0 or min(target_ZHW.shape[1:]) < WINDOW:
        expected = f"slices of at least {WINDOW} x {WINDOW}, SSIM's window"
        raise DataError(scan.name, f"images of shape {target_ZHW.shape}", expected, "")
    if recon_ZHW.dtype.kind not in "fiu":
        do = "store magnitudes as float32"
        raise DataError(scan.name, f"a reconstruction of {recon_ZHW.dtype}", "real numbers", do)
    _refuse_nan(recon_ZHW, scan, "reconstruction")
    _refuse_nan(target_ZHW, scan, "target")
    return target_ZHW


def attribute_range(target_ZHW: Images, scan: Scan, protocol: str) -> float:
    """The data range that the data set states; 0 for a blank volume, whatever it states.

    A range far from the target's maximum is refused: with a range of 1 for images of 1e-4, an
    image of zeros would score 1.

    Raises:
        DataError: There is none, or it is not near the target's maximum.
    """
    top, stated = float(target_ZHW.max()), scan.data_range
    if top <= 0:
        return 0.0
    near = stated is not None and top / _RANGE_FACTOR <= stated <= top * _RANGE_FACTOR
    if stated is None or not math.isfinite(stated) or not near:
        found = "no attribute max" if stated is None else f"attribute max {stated:g}"
        do = f"mend the attribute, or use a protocol with a range of its own, not {protocol}"
        raise DataError(scan.name, found, f"the target's maximum, {top:.4g}", do)
    return stated


def challenge_threshold(target_ZHW: Images, scan: Scan, anatomies: tuple[str, ...]) -> float:
    """The challenge's threshold for the scan's anatomy, where it suits the data's scale.

    Raises:
        DataError: Unknown anatomy, or the target is of another scale.
    """
    if scan.cell is None or scan.cell.anatomy not in anatomies:
        found = f"anatomy {scan.cell.anatomy}" if scan.cell else "no anatomy"
        do = f"give --anatomy {anatomies[0]}" if scan.cell is None else "use another protocol"
        raise DataError(scan.name, found, " or ".join(anatomies), do)
    threshold, top = THRESHOLDS[scan.cell.anatomy], float(target_ZHW.max())
    if top > 0 and not PLAUSIBLE[0] <= top <= PLAUSIBLE[1]:
        expected = f"{PLAUSIBLE[0]:g} to {PLAUSIBLE[1]:g}, the challenge's scale"
        raise DataError(scan.name, f"a target maximum of {top:.3g}", expected, _OWN_UNITS)
    return threshold


def refuse_odd_foreground(
    target_ZHW: Images, inside_ZHW: npt.NDArray[np.bool_], scan: Scan, threshold: float
) -> None:
    """Refuse a threshold that finds nothing, or that every pixel exceeds, in a volume not blank.

    Raises:
        DataError: It does.
    """
    if not target_ZHW.any():
        return
    nothing, everything = not inside_ZHW.any(), bool((target_ZHW > threshold).all())
    if nothing or everything:
        found = f"{'nothing' if nothing else 'every pixel'} above the threshold {threshold:g}"
        expected = f"some anatomy (target maximum {target_ZHW.max():.3g})"
        raise DataError(scan.name, found, expected, _OWN_UNITS)


def _refuse_nan(images_ZHW: Images, scan: Scan, what: str) -> None:
    for z, image in enumerate(images_ZHW):
        if not np.isfinite(image).all():
            where = f"{scan.name} slice {z}"
            do = "run `dealias check` on the data"
            raise DataError(where, f"NaN or infinity in the {what}", "numbers", do)
