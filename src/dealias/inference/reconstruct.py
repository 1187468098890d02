"""From k-space to image: the one way that commands, validation and the API all take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dealias.errors import DataError, HealthError
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.hybrid import Hybrid
from dealias.scan.maps import espirit_maps, refuse_maps_of_cache
from dealias.scan.measurement import Measurement, Needs, Reconstructor, measure, residual
from dealias.scan.scan import Scan

Images = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed volume.

    Attributes:
        image_ZHW: float32 on the target's grid, in the data's units, >= 0; zeros for blank slices.
        zero_filled_ZHW: The zero-filled root-sum-of-squares on the same grid.
        residual_Z: Data-consistency residual ||M F S x - y|| / ||y|| of each slice, or None where
            the method gives no complex image.
    """

    image_ZHW: Images
    zero_filled_ZHW: Images
    residual_Z: Images | None


def reconstruct(
    model: Reconstructor,
    scan: Scan,
    device: torch.device | None = None,
    mask: SamplingMask | None = None,
    batch: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Reconstruction:
    """Reconstruct all slices of a scan. Its name and labels play no part.

    Args:
        model: A network in eval mode on `device`, or a classical method.
        scan: The scan.
        device: Where to work; the CPU if None.
        mask: The sampling mask; the scan's own if None.
        batch: Slices worked on at once.
        progress: Called with the number of slices done since the last call.

    Returns:
        The images, all finite.

    Raises:
        DataError: No mask, or NaN or infinity in k-space; the message names file and slice.
        HealthError: The network gave NaN or infinity, or memory ran out.
    """
    mask = _mask(scan, mask)
    device = device or torch.device("cpu")
    parts: list[tuple[Tensor, Tensor, Tensor | None]] = []
    with torch.no_grad():
        for first, measurement in measurements(scan, mask, model.needs, device, batch):
            parts.append(_solve(model, measurement, scan, first))
            if progress is not None:
                progress(len(parts[-1][0]))
    images, zero_filled, residuals = zip(*parts, strict=True)
    known = [part for part in residuals if part is not None]
    return Reconstruction(
        _volume(images), _volume(zero_filled), _volume(known) if len(known) == len(parts) else None
    )


def measurements(
    scan: Scan, mask: SamplingMask, needs: Needs, device: torch.device, batch: int = 1
) -> Iterator[tuple[int, Measurement]]:
    """Slices of a scan as a network wants to see them.

    Args:
        scan: The scan.
        mask: The sampling mask.
        needs: What the network asks for: adjacent slices (clamped at both ends), maps, crop.
        device: Where to work.
        batch: Slices in each measurement; the last may hold fewer.

    Yields:
        The first slice's index, and the measurement.

    Raises:
        DataError: NaN or infinity in k-space, or a cache that does not serve the network.
    """
    if needs.maps == "espirit":
        refuse_maps_of_cache(scan)
    reach = needs.slices // 2
    for first in range(0, scan.slices, batch):
        last = min(first + batch, scan.slices)
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


def _mask(scan: Scan, mask: SamplingMask | None) -> SamplingMask:
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


def _solve(
    model: Reconstructor, measurement: Measurement, scan: Scan, first: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    try:
        estimate = model(measurement)
    except (torch.OutOfMemoryError, MemoryError) as error:
        shape = tuple(measurement.kspace_BSCHW.shape)
        found = f"no memory left for (B, S, C, H, W) = {shape}"
        raise HealthError(scan.name, found, do="try --batch 1, then --device cpu") from error
    image = measurement.window(estimate.image_BHW)
    finite_B = torch.isfinite(image).all(-1).all(-1)
    if not finite_B.all():
        z = first + int(finite_B.int().argmin())
        found = "NaN or infinity from the model, for finite k-space"
        raise HealthError(f"{scan.name}, slice {z}", found, do="use an earlier checkpoint")
    zero_filled = measurement.window(measurement.zero_filled())
    return image.cpu(), zero_filled.cpu(), residual(measurement, estimate)


def _volume(parts: list[Tensor] | tuple[Tensor, ...]) -> Images:
    return torch.cat([part.float().cpu() for part in parts]).numpy()
