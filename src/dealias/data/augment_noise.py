"""What image augmentation leaves of the noise, by interpolation.

A smoothed target is an easier one: its loss is lower for reasons that no reconstruction deserves.
"""

from __future__ import annotations

import math
from typing import get_args

import torch

from dealias.data.augment import TransformSettings, drawn
from dealias.physics.warp import Edges, Interpolation
from dealias.randomness import generator, torch_seed


def noise_left(
    settings: TransformSettings,
    encoded_hw: tuple[int, int],
    target_hw: tuple[int, int],
    edges: Edges = "reflect",
    draws: int = 16,
    seed: int = 0,
) -> dict[Interpolation, float]:
    """Standard deviation of white noise of 1 in coil images after augmentation at strength 1.

    Where there is signal, the noise of the root-sum-of-squares target is that of the coil images
    along the signal, so that it shrinks by the same factor.

    Args:
        settings: Weights and limits.
        encoded_hw: k-space's grid.
        target_hw: The target's.
        edges: How an image goes on.
        draws: Transforms over which the variance is averaged, the same ones for each mode.
        seed: Of transforms and noise.

    Returns:
        By interpolation mode; 1 where augmentation interpolates nothing.
    """
    modes: tuple[Interpolation, ...] = get_args(Interpolation)
    left = dict.fromkeys(modes, 0.0)
    for i in range(draws):
        rng = generator(seed, "augment", 0, i)
        transform = drawn(settings, 1.0, encoded_hw, target_hw, rng)
        chance = torch.Generator().manual_seed(torch_seed(seed, "noise", i))
        noise_HW = torch.randn(encoded_hw, dtype=torch.complex128, generator=chance)
        for mode in modes:
            moved_HW = transform(noise_HW, mode, edges)
            left[mode] += float(moved_HW.abs().square().mean() / noise_HW.abs().square().mean())
    return {mode: math.sqrt(variance / draws) for mode, variance in left.items()}
