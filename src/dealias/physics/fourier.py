"""Centred orthonormal Fourier transforms; the centre of k-space and of the image is index N//2."""

from __future__ import annotations

import math

import torch
from torch import Tensor

IMAGE_AXES = (-2, -1)


def fft(x: Tensor, axes: tuple[int, ...] = IMAGE_AXES) -> Tensor:
    """Image to k-space.

    Args:
        x: (..., H, W) complex.
        axes: Which axes to transform, counted from the end: (-2, -1), (-1,) or (-2,).

    Returns:
        Same shape and dtype, of the same energy (orthonormal).
    """
    x = torch.fft.ifftshift(x, dim=axes)
    return torch.fft.fftshift(torch.fft.fftn(x, dim=axes, norm="ortho"), dim=axes)


def ifft(x: Tensor, axes: tuple[int, ...] = IMAGE_AXES) -> Tensor:
    """k-space to image, the inverse and the adjoint of `fft`."""
    x = torch.fft.ifftshift(x, dim=axes)
    return torch.fft.fftshift(torch.fft.ifftn(x, dim=axes, norm="ortho"), dim=axes)


def centring_ramp(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The factor r that turns a plain FFT into a centred one.

    With c = N//2: fft(x)[k] = conj(g) r[k] plain_fft(r x)[k], where r[n] = exp(2 pi i n c / N)
    and g = exp(2 pi i c^2 / N). For even N, r is the sign (-1)^n.

    Args:
        size: N.
        dtype: A complex dtype.
        device: Where to make it.

    Returns:
        (N,) complex of modulus 1.
    """
    centre = size // 2
    turns = (torch.arange(size, device=device) * centre) % size
    angle = turns.to(torch.float64) * (2 * math.pi / size)
    ramp = torch.polar(torch.ones_like(angle), angle)
    if size % 2 == 0:
        ramp = torch.round(ramp.real).to(ramp.dtype)
    return ramp.to(dtype)


def centring_phase(size: int) -> complex:
    """The constant conj(g) of `centring_ramp`; +1 or -1 on even sizes."""
    centre = size // 2
    angle = -2 * math.pi * ((centre * centre) % size) / size
    if size % 2 == 0:
        return complex(round(math.cos(angle)), 0.0)
    return complex(math.cos(angle), math.sin(angle))
