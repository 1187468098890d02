"""What tests of several folders compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dealias.physics.coils import divide, unit_maps
from dealias.physics.fourier import ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Needs


def same(a: Any, b: Any) -> bool:
    """Bit-equal, all the way down."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def maps_for(
    needs: Needs, kspace_BSCHW: torch.Tensor, masks: Sequence[SamplingMask]
) -> torch.Tensor | None:
    """Coil images of the ACS region, of unit norm: smooth maps where ESPIRiT's are asked for."""
    if needs.maps == "none":
        return None
    acs = torch.from_numpy(np.stack([np.atleast_2d(mask.acs_lines()) for mask in masks]))
    low_BSCHW = kspace_BSCHW * acs[:, None, None].to(kspace_BSCHW.device)
    # squares of data of 1e-25 would leave single precision
    low_BSCHW = divide(low_BSCHW, low_BSCHW.abs().amax((1, 2, 3, 4), keepdim=True))
    return unit_maps(ifft(low_BSCHW), coil_axis=2)
