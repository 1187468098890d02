"""The orthonormal wavelet transform of Daubechies with four taps, periodic at the edges.

Daubechies, Orthonormal bases of compactly supported wavelets, Commun Pure Appl Math 41:909 (1988).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROOT = math.sqrt(3)
_LOW = tuple(tap / (4 * math.sqrt(2)) for tap in (1 + _ROOT, 3 + _ROOT, 3 - _ROOT, 1 - _ROOT))
_HIGH = (_LOW[3], -_LOW[2], _LOW[1], -_LOW[0])


def wavelet(image: Tensor, levels: int) -> Tensor:
    """Transform the last two axes.

    Args:
        image: (..., H, W), H and W multiples of 2 ** levels.
        levels: How often the coarse quarter is split again.

    Returns:
        Coefficients of the same shape; the coarsest image stands in the first corner.
    """
    if not levels:
        return image
    split = _analyse(_analyse(image, -2), -1)
    coarse_h, coarse_w = (size // 2 for size in image.shape[-2:])
    result = split.clone()
    result[..., :coarse_h, :coarse_w] = wavelet(split[..., :coarse_h, :coarse_w], levels - 1)
    return result


def inverse_wavelet(coefficients: Tensor, levels: int) -> Tensor:
    """The inverse, which is the adjoint."""
    if not levels:
        return coefficients
    coarse_h, coarse_w = (size // 2 for size in coefficients.shape[-2:])
    split = coefficients.clone()
    coarse = coefficients[..., :coarse_h, :coarse_w]
    split[..., :coarse_h, :coarse_w] = inverse_wavelet(coarse, levels - 1)
    return _synthesise(_synthesise(split, -1), -2)


def _analyse(x: Tensor, axis: int) -> Tensor:
    """Coarse half, then detail half."""
    even, odd = torch.unflatten(x, axis, (-1, 2)).unbind(axis)
    taps = (even, odd, even.roll(-1, axis), odd.roll(-1, axis))
    return torch.cat([_weighted(taps, _LOW), _weighted(taps, _HIGH)], axis)


def _synthesise(x: Tensor, axis: int) -> Tensor:
    coarse, detail = x.chunk(2, axis)
    taps = [low * coarse + high * detail for low, high in zip(_LOW, _HIGH, strict=True)]
    even, odd = taps[0] + taps[2].roll(1, axis), taps[1] + taps[3].roll(1, axis)
    return torch.stack([even, odd], axis).flatten(axis - 1, axis)


def _weighted(taps: tuple[Tensor, ...], weights: tuple[float, ...]) -> Tensor:
    first, *rest = zip(taps, weights, strict=True)
    total = first[0] * first[1]
    for tap, weight in rest:
        total = total + weight * tap
    return total
