"""What may be done along the fully sampled readout without touching the measurement."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dealias.errors import SettingsError


def centre_crop_or_pad(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Centre crop, and zero-pad where the image is smaller (the challenge's rule).

    The centre is index N//2 on both grids, so that pad then crop gives the image back.

    Args:
        image: (..., H, W) real or complex.
        size_hw: The wanted (H, W).

    Returns:
        (..., *size_hw).
    """
    for axis, size in zip((-2, -1), size_hw, strict=True):
        have = image.shape[axis]
        if have > size:
            image = image.narrow(axis, have // 2 - size // 2, size)
        elif have < size:
            before = size // 2 - have // 2
            pads = (before, size - have - before)
            image = F.pad(image, pads if axis == -1 else (0, 0, *pads))
    return image


def row_window(rows: int, keep: int) -> tuple[int, int]:
    """The centred range of rows [start, stop) that keeps `keep` of `rows`.

    Raises:
        SettingsError: More rows to keep than there are.
    """
    if keep > rows:
        raise SettingsError("readout crop", f"{keep} rows to keep", f"at most {rows} rows")
    start = rows // 2 - keep // 2
    return start, start + keep
