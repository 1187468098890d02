"""Slices of a scan as a network wants to see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dealias.errors import DataError
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.hybrid import Hybrid
from dealias.scan.maps import espirit_maps, refuse_maps_of_cache
from dealias.scan.measurement import Measurement, Needs, measure
from dealias.scan.scan import Scan


def measurements(
    scan: Scan, mask: SamplingMask, needs: Needs, device: torch.device, batch: int = 1,
    only: range | None = None,
) -> Iterator[tuple[int, Measurement]]:  # fmt: skip
    """Slices of a scan as a network wants to see them.

    Args:
        scan: The scan.
        mask: The sampling mask.
        needs: What the network asks for: adjacent slices (clamped at both ends), maps, crop.
        device: Where to work.
        batch: Slices in each measurement; the last may hold fewer.
        only: Which slices, one after the other; all if None.

    Yields:
        The first slice's index, and the measurement.

    Raises:
        DataError: NaN or infinity in k-space, or a cache that does not serve the network.
    """
    if needs.maps == "espirit":
        refuse_maps_of_cache(scan)
    reach = needs.slices // 2
    wanted = only or range(scan.slices)
    for first in range(wanted.start, wanted.stop, batch):
        last = min(first + batch, wanted.stop)
        start, stop = max(0, first - reach), min(scan.slices, last + reach)
        kspace_ZCHW, hybrid = _finite_kspace(scan, start, stop, needs)
        kspace_ZCHW = kspace_ZCHW.to(device)
        around = torch.arange(first, last)[:, None] + torch.arange(-reach, reach + 1)
        index_BS = around.clamp(0, scan.slices - 1) - start
        kspace_BSCHW = kspace_ZCHW[index_BS.to(device)]
        masks = [mask] * (last - first)
        sens_BSCHW = None
        if needs.maps == "espirit":
            sens_BSCHW = espirit_maps(kspace_BSCHW, masks, scan.name, needs.crop, needs.sets)
        if hybrid is not None:
            hybrid = dataclasses.replace(hybrid, peaks_BSW=hybrid.peaks_BSW[index_BS].to(device))
        target_hw = scan.geometry.target_hw
        stored = [scan.stored(needs, mask, z) for z in range(first, last)]
        yield first, measure(kspace_BSCHW, masks, target_hw, needs, sens_BSCHW, hybrid, stored)


def mask_of(scan: Scan, mask: SamplingMask | None) -> SamplingMask:
    """The mask that is given, or else the scan's own.

    Raises:
        DataError: There is none, or it is of another size.
    """
    mask = mask or scan.mask
    if mask is None:
        do = "say how to undersample fully sampled data, such as --mask snu:4"
        raise DataError(scan.name, "no sampling mask", "a mask in the file", do)
    if mask.lines.shape not in (scan.shape[3:], scan.shape[2:]):
        raise DataError(
            scan.name,
            f"a mask of shape {mask.lines.shape}",
            f"{scan.shape[3:]} or {scan.shape[2:]}",
        )
    return mask


def _finite_kspace(scan: Scan, start: int, stop: int, needs: Needs) -> tuple[Tensor, Hybrid | None]:
    hybrid = None
    if scan.cached is not None:
        rows = needs.rows(scan.shape[2], scan.geometry.target_hw[0])
        kspace, hybrid = scan.cached.hybrid(range(start, stop), rows)
        kspace_ZCHW = kspace.numpy()
    else:
        kspace_ZCHW = np.ascontiguousarray(scan.kspace(slice(start, stop)))
    finite_Z = np.isfinite(kspace_ZCHW).all((1, 2, 3))
    if not finite_Z.all():
        z = start + int(np.argmin(finite_Z))
        raise DataError(
            f"{scan.name}, slice {z}",
            "NaN or infinity in k-space",
            "finite numbers",
            "leave it out",
        )
    return torch.from_numpy(kspace_ZCHW), hybrid
