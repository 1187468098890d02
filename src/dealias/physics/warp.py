"""Moving an image on its grid: what permutes pixels is exact, one affine warp interpolates.

A warp is a sparse matrix, pixels after x pixels before, so that one matrix serves all coils of all
slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import centre_crop_or_pad

Edges = Literal["reflect", "wrap"]
Interpolation = Literal["bilinear", "bicubic", "band-limited"]
Array = npt.NDArray[Any]

UPSAMPLING = 2
"""The finer grid of band-limited interpolation, per axis."""
_TOGETHER = 4
"""Images warped at once: few enough that their finer grids stay small."""
_REACH = 2
_BETA = math.pi * math.sqrt((2 * _REACH / UPSAMPLING) ** 2 * (UPSAMPLING - 0.5) ** 2 - 0.8)
"""Kaiser-Bessel's for this width and finer grid (Beatty, Nishimura, Pauly 2005, eq. 5)."""


@dataclass(frozen=True)
class Affine:
    """Shear, then scaling, then rotation about the grid's middle ((H-1)/2, (W-1)/2).

    Pixels are taken to be square, as those of fastMRI and the challenge are.

    Attributes:
        rotation: Degrees; 90 is one quarter turn of `torch.rot90`.
        shear_hw: Degrees: rows move by tan(first) per column, columns by tan(second) per row.
        scale: Above 1 enlarges.
    """

    rotation: float = 0.0
    shear_hw: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    @property
    def matrix(self) -> Array:
        """(2, 2) float64: from (H, W) displacements before to those after."""
        angle = math.radians(self.rotation)
        turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        by_h, by_w = (math.tan(math.radians(one)) for one in self.shear_hw)
        return self.scale * np.array(turn) @ np.array([[1, by_h], [by_w, 1]])


STILL = Affine()


@dataclass(frozen=True)
class Transform:
    """What happens to an image, in this order.

    Attributes:
        flip_h: Left and right change places: the axis W is reversed.
        flip_v: Top and bottom do: the axis H is.
        quarter_turns: 0 to 3, as `torch.rot90` counts them.
        shift_hw: Pixels that everything moves down, and to the right.
        affine: Last, as it alone interpolates.
    """

    flip_h: bool = False
    flip_v: bool = False
    quarter_turns: int = 0
    shift_hw: tuple[int, int] = (0, 0)
    affine: Affine = STILL

    def __call__(self, images: Tensor, interpolation: Interpolation, edges: Edges) -> Tensor:
        """Images (..., H, W) complex so moved, of the same shape and dtype.

        A transform that does nothing gives the very tensor; all but `affine` copy values.
        """
        if self.flip_h:
            images = images.flip(-1)
        if self.flip_v:
            images = images.flip(-2)
        images = turn(images, self.quarter_turns, edges)
        images = shift(images, self.shift_hw, edges)
        return warp(images, self.affine, interpolation, edges)


UNMOVED = Transform()


def turn(images: Tensor, quarters: int, edges: Edges) -> Tensor:
    """Turn by multiples of 90 degrees on the same grid.

    Where H and W differ, an odd number of quarters is cropped about the centre along one axis and
    continued beyond its edges along the other; no pixel is scaled.

    Args:
        images: (..., H, W).
        quarters: How many, counter-clockwise.
        edges: How an image goes on.

    Returns:
        Same shape.
    """
    if quarters % 4 == 0:
        return images
    turned = torch.rot90(images, quarters, (-2, -1))
    for axis in (-2, -1):
        have, want = turned.shape[axis], images.shape[axis]
        if have != want:
            turned = _gather(turned, axis, np.arange(want) - want // 2 + have // 2, edges)
    return turned


def shift(images: Tensor, by_hw: tuple[int, int], edges: Edges) -> Tensor:
    """Move everything by whole pixels; what enters at an edge is what lies beyond it.

    Args:
        images: (..., H, W).
        by_hw: Pixels down, and to the right.
        edges: How an image goes on.

    Returns:
        Same shape.
    """
    for axis, by in zip((-2, -1), by_hw, strict=True):
        if by:
            images = _gather(images, axis, np.arange(images.shape[axis]) - by, edges)
    return images


def warp(images: Tensor, affine: Affine, interpolation: Interpolation, edges: Edges) -> Tensor:
    """One affine warp of many images.

    "bilinear" and "bicubic" (Keys 1981, a = -1/2) weigh 2 x 2 and 4 x 4 neighbours; of the variance
    of white noise they leave (2/3)^2 = .44 and (57/70)^2 = .66 on average over places between
    pixels. "band-limited" evaluates the image's own Fourier series, which keeps all of it: k-space
    is zero-padded to UPSAMPLING times the grid, and 4 x 4 neighbours there are weighed by a
    Kaiser-Bessel kernel whose transform was divided out of k-space, as in gridding.

    Args:
        images: (..., H, W) complex.
        affine: Which one.
        interpolation: How values between pixels are found.
        edges: How an image goes on.

    Returns:
        Same shape and dtype; the same tensor where nothing moves. What shrinks is not low-passed.
    """
    if affine == STILL:
        return images
    h, w = images.shape[-2:]
    dtype = np.float32 if images.dtype == torch.complex64 else np.float64
    matrix = _matrix(affine, (h, w), interpolation, edges, dtype)
    parts = torch.split(images.reshape(-1, h, w), _TOGETHER)
    finer = interpolation == "band-limited"
    warped = [_times(matrix, _upsampled(part) if finer else part) for part in parts]
    return torch.cat(warped).reshape(images.shape)


def _times(matrix: Any, images_NHW: Tensor) -> Tensor:
    n = images_NHW.shape[0]
    columns = np.ascontiguousarray(images_NHW.reshape(n, -1).numpy().T)
    real = columns.view(matrix.dtype)
    found = np.ascontiguousarray((matrix @ real).view(columns.dtype).T)
    return torch.from_numpy(found)


def _upsampled(images_NHW: Tensor) -> Tensor:
    """Coefficients on the finer grid whose kernel expansion is the images' Fourier series."""
    h, w = images_NHW.shape[-2:]
    kernel_HW = np.outer(_transform_of_kernel(h), _transform_of_kernel(w))
    inverse_HW = torch.from_numpy(UPSAMPLING / kernel_HW).to(images_NHW.real.dtype)
    fine_hw = (UPSAMPLING * h, UPSAMPLING * w)
    return ifft(centre_crop_or_pad(fft(images_NHW) * inverse_HW, fine_hw))


def _matrix(
    affine: Affine, hw: tuple[int, int], interpolation: Interpolation, edges: Edges, dtype: Any
) -> sparse.csr_array:
    """Pixels after x pixels before (or positions of the finer grid)."""
    finer = UPSAMPLING if interpolation == "band-limited" else 1
    reach, kernel = _KERNELS[interpolation]
    indices, weights = [], []
    for size, place in zip(hw, _places_before(affine, hw), strict=True):
        at = finer * (_folded(place, size, edges) - size // 2) + finer * size // 2
        near = np.floor(at)[:, None] + np.arange(1 - reach, reach + 1)
        weights.append(kernel(np.abs(at[:, None] - near)).astype(dtype))
        # the series of a band-limited image is periodic, whatever lies beyond its edges
        beyond: Edges = "wrap" if finer > 1 else edges
        indices.append(_folded(near.astype(np.int32), finer * size, beyond))
    columns = indices[0][:, :, None] * np.int32(finer * hw[1]) + indices[1][:, None, :]
    values = weights[0][:, :, None] * weights[1][:, None, :]
    starts = np.arange(len(columns) + 1) * columns[0].size
    shape = (len(columns), finer**2 * hw[0] * hw[1])
    return sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=shape)


def _places_before(affine: Affine, hw: tuple[int, int]) -> Array:
    """Where each pixel comes from, (2, H*W) float64."""
    middle = (np.array(hw)[:, None] - 1) / 2
    after = np.indices(hw).reshape(2, -1) - middle
    return np.linalg.inv(affine.matrix) @ after + middle


def _folded(place: Array, size: int, edges: Edges) -> Array:
    """Places beyond the edges, brought inside; edge pixels are not repeated by "reflect"."""
    if edges == "wrap" or size == 1:
        return place % size
    period = 2 * (size - 1)
    inside = place % period
    return np.minimum(inside, period - inside)


def _gather(images: Tensor, axis: int, place: Array, edges: Edges) -> Tensor:
    return images.index_select(
        images.ndim + axis, torch.from_numpy(_folded(place, images.shape[axis], edges))
    )


def _linear(distance: Array) -> Array:
    return np.clip(1 - distance, 0, None)


def _keys(distance: Array) -> Array:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


def _kaiser_bessel(distance: Array) -> Array:
    inside = np.clip(1 - (distance / _REACH) ** 2, 0, None)
    return np.where(distance <= _REACH, np.i0(_BETA * np.sqrt(inside)), 0) / (2 * _REACH)


def _transform_of_kernel(size: int) -> Array:
    """Fourier transform of the Kaiser-Bessel kernel at an axis's frequencies, (size,)."""
    frequency = (np.arange(size) - size // 2) / (UPSAMPLING * size)
    inside = np.sqrt(_BETA**2 - (2 * math.pi * _REACH * frequency) ** 2)
    return np.sinh(inside) / inside


_KERNELS: dict[str, tuple[int, Callable[[Array], Array]]] = {
    "bilinear": (1, _linear),
    "bicubic": (2, _keys),
    "band-limited": (_REACH, _kaiser_bessel),
}
