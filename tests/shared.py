"""What tests of several folders compare with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from dealias.config.schema import Recipe
from dealias.engine.ceilings import Ceilings
from dealias.models.mixture import Experts
from dealias.physics.coils import divide, unit_maps
from dealias.physics.fourier import ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.runs.footprint import Footprint
from dealias.runs.size import Size
from dealias.scan.measurement import Measurement, Needs


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


def routed(network: nn.Module, m: Measurement) -> Measurement:
    """The measurement, for the first expert where the network has several."""
    if not isinstance(network, Experts):
        return m
    return dataclasses.replace(m, route=network.routes[0])


def reached(network: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained by a measurement that was so routed."""
    at = f"members.{network.routes[0]}." if isinstance(network, Experts) else ""
    return {
        name: p for name, p in network.named_parameters() if p.requires_grad and name.startswith(at)
    }


def stated_footprint(
    recipe: Recipe, size: Size, device: str, warn: Any, frozen: tuple[str, ...] = ()
) -> Footprint:
    """As `footprint_of`, of a device of stated speed: nothing is measured, times never change."""
    return Footprint(recipe, size, device, None, Ceilings(1e9, 1e9, 1e-6, 1e-6), frozen)
