"""Sensitivity maps for whoever asks for them, from nothing but what was measured."""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.errors import DataError
from dealias.physics.espirit import KERNEL, MAX_ROWS, espirit
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import CROP
from dealias.scan.scan import Scan


def espirit_maps(
    kspace_BSCHW: Tensor,
    masks: list[SamplingMask],
    where: str,
    crop: float = CROP,
    sets: int = 1,
) -> Tensor:
    """ESPIRiT maps of every slice from its ACS lines.

    Args:
        kspace_BSCHW: k-space; what lies off the mask is not looked at.
        masks: One mask per item.
        where: The scan, for messages.
        crop: Eigenvalues below this are no signal.
        sets: M, how many sets of maps.

    Returns:
        Maps of the same shape, (B, S, M, C, H, W) for more than one set; zeros for a blank slice.

    Raises:
        DataError: The mask has no ACS lines.
    """
    items = [
        torch.stack([_slice_maps(one, mask, where, crop, sets) for one in kspace_SCHW])
        for kspace_SCHW, mask in zip(kspace_BSCHW, masks, strict=True)
    ]
    sens_BSMCHW = torch.stack(items)
    return sens_BSMCHW[:, :, 0] if sets == 1 else sens_BSMCHW


def refuse_maps_of_cache(scan: Scan) -> None:
    """Refuse to make maps of a cached scan; others pass.

    Raises:
        DataError: It is cached.
    """
    if scan.cached is not None:
        found = "a cache, which holds rows of an image along the readout"
        do = "use the files that the cache was made from"
        raise DataError(scan.name, found, "k-space, which ESPIRiT maps are made from", do)


def few_lines(mask: SamplingMask) -> str | None:
    """What to say of a mask with too few ACS lines for a whole ESPIRiT kernel."""
    lines = min(mask.acs_count, MAX_ROWS if mask.acs_rows is None else _length(mask.acs_rows))
    if lines >= 2 * KERNEL - 1:
        return None
    side = (lines + 1) // 2
    return f"{lines} ACS lines: ESPIRiT's kernel is {side} wide and not {KERNEL}, maps are coarser"


def _length(ends: tuple[int, int]) -> int:
    return ends[1] - ends[0]


def _slice_maps(
    kspace_CHW: Tensor, mask: SamplingMask, where: str, crop: float, sets: int
) -> Tensor:
    start, stop = mask.acs_rows or (0, kspace_CHW.shape[-2])
    if mask.acs_count < 1 or stop <= start:
        do = "use 'zero-filled' or a network that needs no ESPIRiT maps"
        raise DataError(where, "a mask without ACS lines", "sampled lines at its centre", do)
    sampled = torch.from_numpy(mask.lines.copy()).to(kspace_CHW.device)
    measured = torch.where(sampled, kspace_CHW, torch.zeros_like(kspace_CHW))
    peak = measured.abs().amax()
    if peak == 0:
        return measured.expand(sets, -1, -1, -1)
    # maps have no scale, but squares of data of 1e-30 or 1e25 would leave single precision
    return espirit(measured / peak, mask.acs, mask.acs_rows, crop=crop, sets=sets)
