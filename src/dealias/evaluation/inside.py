"""One slice looked at from inside a model: its maps, its cascades, its receptive field."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dealias.engine.policies import MemoryPolicy
from dealias.errors import DataError, no_memory
from dealias.evaluation.cascades import watch
from dealias.evaluation.receptive_field import receptive_field
from dealias.inference.reconstruct import reconstruct
from dealias.inference.routing import Route, RoutedExperts
from dealias.inference.slices import measurements
from dealias.models.network import Block, Cascade, PerCoil
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Reconstructor
from dealias.scan.scan import Scan

Images = npt.NDArray[Any]
COILS, CASCADES = 8, 7
"""Most that are kept of a slice; the cascades are spread evenly, first and last among them."""


@dataclass(frozen=True)
class Inside:
    """What one slice shows of a model.

    Attributes:
        image_HW: The reconstruction, float32 in the data's units on the target's grid; so are
        zero_filled_HW: the zero-filled image and
        reference_HW: the target.
        cascades_NHW: The same after some cascades, none where `why` says so.
        numbers: Which cascades these are, from 1.
        of: How many there are.
        sens_NHW: Magnitudes of sensitivity maps of some coils on the target's grid, or None.
        coils: That the model sees.
        field_HW: Effective receptive field on k-space's grid, as `receptive_field` gives it, or
            None.
        route: Which expert it was, where there are several.
        why: What is not there, "cascades" or "field", and why.
    """

    image_HW: Images
    zero_filled_HW: Images
    reference_HW: Images
    cascades_NHW: Images
    numbers: tuple[int, ...]
    of: int
    sens_NHW: Images | None
    coils: int
    field_HW: Images | None
    route: Route | None = None
    why: dict[str, str] = field(default_factory=dict)


def look_inside(
    model: Reconstructor, scan: Scan, z: int, mask: SamplingMask, device: torch.device
) -> Inside:
    """Look at one slice.

    Args:
        model: As for `reconstruct`; memory policies of its own are gone afterwards.
        scan: With a target.
        z: Which slice.
        mask: The mask it is seen through.
        device: Where the model is.

    Raises:
        DataError: No target; NaN or infinity in k-space; no expert for such a scan; a cache that
            does not serve the network.
    """
    measurement, route = seen_by(model, scan, z, mask, device)
    watched = watch(model, measurement)
    numbers = spread(len(watched.images), CASCADES)
    why = {"cascades": watched.why} if watched.why else {}
    field_HW, trouble = _field(model, measurement, scan.shape[2])
    if trouble:
        why["field"] = trouble
    return Inside(
        _windowed(measurement, watched.estimate.image_BHW),
        _windowed(measurement, measurement.zero_filled()),
        target_of(scan, z),
        np.stack([_windowed(measurement, watched.images[i]) for i in numbers])
        if numbers else np.empty((0, *measurement.target_hw), np.float32),
        tuple(i + 1 for i in numbers),
        len(watched.images),
        _magnitudes(watched.sens_BSCHW, measurement.target_hw),
        measurement.kspace_BSCHW.shape[2],
        field_HW,
        route,
        why,
    )  # fmt: skip


def seen_by(
    model: Reconstructor, scan: Scan, z: int, mask: SamplingMask, device: torch.device
) -> tuple[Measurement, Route | None]:
    """One slice as a model sees it, for the expert that it is for where there are several."""
    route = model.route(scan, mask, device) if isinstance(model, RoutedExperts) else None
    only = range(z, z + 1)
    _, measurement = next(measurements(scan, mask, model.needs, device, only=only))
    return measurement if route is None else replace(measurement, route=route.name), route


def one_slice(
    model: Reconstructor, scan: Scan, z: int, mask: SamplingMask, device: torch.device
) -> tuple[Images, Images, Images]:
    """Zero-filled, reconstruction and reference of a slice, as `Inside` has them."""
    found = reconstruct(model, scan, device, mask, only=range(z, z + 1))
    return found.zero_filled_ZHW[0], found.image_ZHW[0], target_of(scan, z)


def target_of(scan: Scan, z: int) -> Images:
    """What a reconstruction of the slice is compared with, (H, W).

    Raises:
        DataError: There is nothing.
    """
    target_ZHW = scan.target(z)
    if target_ZHW is None:
        do = "give data with targets, such as the validation set"
        raise DataError(scan.name, "no target image", "one to compare with", do)
    return np.asarray(target_ZHW[0], np.float32)


def leanest(model: nn.Module) -> MemoryPolicy:
    """The policy that keeps least of all that a network has units for: no run's own keeps less."""
    parts = list(model.modules())

    def has(kind: type[nn.Module]) -> bool:
        return any(isinstance(part, kind) for part in parts)

    return MemoryPolicy(
        cascades="recompute" if has(Cascade) else "keep",
        blocks="recompute" if has(Block) else "keep",
        coils=1 if has(PerCoil) else None,
    )


def spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _field(
    model: Reconstructor, measurement: Measurement, encoded: int
) -> tuple[Images | None, str]:
    """The receptive field with as little memory as can be, or why there is none."""
    if not isinstance(model, nn.Module):
        return None, "it is taken of networks alone"
    leanest(model).apply(model)
    try:
        found = receptive_field(model, measurement, encoded).float().cpu().numpy()
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
        found = None
    finally:
        MemoryPolicy().apply(model)
    return found, "" if found is not None else "no memory left for a backward pass"


def _windowed(measurement: Measurement, image_BHW: Tensor) -> Images:
    device = measurement.scale_B.device
    return measurement.window(image_BHW.to(device))[0].float().cpu().numpy()


def _magnitudes(sens_BSCHW: Tensor | None, target_hw: tuple[int, int]) -> Images | None:
    if sens_BSCHW is None:
        return None
    sens_CHW = sens_BSCHW[0, sens_BSCHW.shape[1] // 2]
    if sens_CHW.ndim == 4:
        sens_CHW = sens_CHW[0]  # the first of several sets
    sens_CHW = sens_CHW[spread(len(sens_CHW), COILS)]
    return centre_crop_or_pad(sens_CHW.abs(), target_hw).float().cpu().numpy()
