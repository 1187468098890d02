"""Numbers that other projects' code printed, and the recipes of what it was given.

Weights are drawn from the names of the reference's parameters, so neither weights nor the
reference's code need be kept: a golden file holds names, shapes, a few hundred numbers of the
output, and of each parameter's gradient its product with a random direction.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import measure
from shared import maps_for

FOLDER = Path(__file__).parent / "parity" / "golden"
NUMBERS = 300


def drawn(name: str, shape: Sequence[int], purpose: int = 0) -> Tensor:
    """Float64 that follows from a name: weights of about unit gain, or of (.1, .9) in 1-D."""
    rng = np.random.default_rng([purpose, zlib.crc32(name.encode())])
    if len(shape) < 2:
        return torch.from_numpy(np.asarray(rng.uniform(0.1, 0.9, shape)))
    fan = int(np.prod(shape[1:]))
    return torch.from_numpy(rng.standard_normal(shape) / np.sqrt(fan))


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Of a whole state dict, float64."""
    return {name: drawn(name, shape) for name, shape in shapes.items()}


def kspace(shape: Sequence[int]) -> Tensor:
    """Full k-space (B, S, C, H, W), complex128, with a peak in the middle as k-space has."""
    rng = np.random.default_rng(5)
    y = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    h, w = shape[-2:]
    far = np.hypot(*np.meshgrid(np.arange(w) - w // 2, np.arange(h) - h // 2))
    return torch.from_numpy(y * (0.02 + np.exp(-far / 3)))


def mask(recipe: Mapping[str, Any]) -> SamplingMask:
    """{"width", "every", "first", "acs": [start, stop]}: every so many lines, and the ACS lines."""
    lines = np.zeros(recipe["width"], bool)
    lines[recipe["first"] :: recipe["every"]] = True
    lines[slice(*recipe["acs"])] = True
    return SamplingMask(lines, tuple(recipe["acs"]), nominal=recipe["every"])


def image(network: nn.Module, case: Mapping[str, Any]) -> Tensor:
    """Our image of a case (its shape, mask and target), (B, H, W)."""
    y, lines = kspace(case["shape"]), mask(case["mask"])
    target = tuple(case["target"] or case["shape"][-2:])
    masks = [lines] * len(y)
    m = measure(y, masks, target, network.needs, maps_for(network.needs, y, masks))
    return m.window(network(m).image_BHW)


def gradients(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Of the image's product with a random image, of all that is trained."""
    network.zero_grad()
    (image * drawn("image", image.shape)).sum().backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in network.named_parameters()
        if p.requires_grad
    }


def sampled(image: Tensor) -> list[float]:
    """A few hundred numbers, evenly through an image."""
    flat = image.detach().flatten()
    return flat[:: max(1, -(-len(flat) // NUMBERS))].tolist()


def products(gradients: Mapping[str, Tensor]) -> dict[str, float]:
    """Of each gradient with a random direction that follows from its name."""
    return {
        name: float((gradient * drawn(name, gradient.shape, 1)).sum())
        for name, gradient in gradients.items()
    }


def read(name: str) -> dict[str, Any]:
    """A golden file."""
    return json.loads((FOLDER / f"{name}.json").read_text())
