"""From k-space to image: the one way that commands, validation and the API all take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dealias.errors import HealthError
from dealias.inference.flips import Flip, averaged
from dealias.inference.routing import Route, RoutedExperts
from dealias.inference.slices import mask_of, measurements
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Reconstructor, residual
from dealias.scan.scan import Scan

Images = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed volume.

    Attributes:
        image_ZHW: float32 on the target's grid, in the data's units, >= 0; zeros for blank slices.
        zero_filled_ZHW: The zero-filled root-sum-of-squares on the same grid.
        residual_Z: Data-consistency residual ||M F c - y|| / ||y|| of each slice, or None where
            the method gives no complex image.
        route: Which expert made it and why, where there are several.
        flips: Whose images are in the average, beside the plain one. The residual is then the
            largest of all passes.
    """

    image_ZHW: Images
    zero_filled_ZHW: Images
    residual_Z: Images | None
    route: Route | None = None
    flips: tuple[Flip, ...] = ()


def reconstruct(
    model: Reconstructor,
    scan: Scan,
    device: torch.device | None = None,
    mask: SamplingMask | None = None,
    batch: int = 1,
    progress: Callable[[int], None] | None = None,
    flips: Sequence[Flip] = (),
    only: range | None = None,
) -> Reconstruction:
    """Reconstruct all slices of a scan.

    Its name plays no part; its labels do where a router was made to believe them, and only there.

    Args:
        model: A network in eval mode on `device`, or a classical method.
        scan: The scan.
        device: Where to work; the CPU if None.
        mask: The sampling mask; the scan's own if None.
        batch: Slices worked on at once.
        progress: Called with the number of slices done since the last call.
        flips: Of the measurement, whose reconstructions are averaged with the plain one.
        only: Which slices, one after the other; all if None.

    Returns:
        The images, all finite.

    Raises:
        DataError: No mask, or NaN or infinity in k-space; the message names file and slice. No
            expert for such a scan.
        HealthError: The network gave NaN or infinity, or memory ran out.
    """
    mask = mask_of(scan, mask)
    device = device or torch.device("cpu")
    route = model.route(scan, mask, device) if isinstance(model, RoutedExperts) else None
    parts: list[tuple[Tensor, Tensor, Tensor | None]] = []
    with torch.no_grad():
        for first, measurement in measurements(scan, mask, model.needs, device, batch, only):
            if route is not None:
                measurement = replace(measurement, route=route.name)
            parts.append(_solve(model, measurement, scan, first, flips))
            if progress is not None:
                progress(len(parts[-1][0]))
    images, zero_filled, residuals = zip(*parts, strict=True)
    known = [part for part in residuals if part is not None]
    residual_Z = _volume(known) if len(known) == len(parts) else None
    whole = _volume(images), _volume(zero_filled)
    return Reconstruction(*whole, residual_Z, route, tuple(flips))


def _solve(
    model: Reconstructor, measurement: Measurement, scan: Scan, first: int, flips: Sequence[Flip]
) -> tuple[Tensor, Tensor, Tensor | None]:
    def once(one: Measurement) -> tuple[Tensor, Tensor | None]:
        estimate = model(one)
        return estimate.image_BHW, residual(one, estimate)

    try:
        image_BHW, residual_B = averaged(once, measurement, flips)
    except (torch.OutOfMemoryError, MemoryError) as error:
        shape = tuple(measurement.kspace_BSCHW.shape)
        found = f"no memory left for (B, S, C, H, W) = {shape}"
        raise HealthError(scan.name, found, do="try --batch 1, then --device cpu") from error
    image = measurement.window(image_BHW)
    finite_B = torch.isfinite(image).all(-1).all(-1)
    if not finite_B.all():
        z = first + int(finite_B.int().argmin())
        found = "NaN or infinity from the model, for finite k-space"
        raise HealthError(f"{scan.name}, slice {z}", found, do="use an earlier checkpoint")
    zero_filled = measurement.window(measurement.zero_filled())
    return image.cpu(), zero_filled.cpu(), residual_B


def _volume(parts: list[Tensor] | tuple[Tensor, ...]) -> Images:
    return torch.cat([part.float().cpu() for part in parts]).numpy()
