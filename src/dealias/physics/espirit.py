"""Sensitivity maps from the ACS lines by ESPIRiT (Uecker et al., Magn Reson Med 71:990, 2014)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dealias.physics.coils import divide

MAX_ROWS = 24
"""ACS rows used along a fully sampled readout; more do not help the kernels."""
_SQUARINGS, _ITERATIONS = 3, 4
"""Power iterations with the Gram matrices' eighth powers: 32 plain ones for the price of 14."""
_BLOCK = 1 << 25
"""Complex numbers held at once while maps are computed, row block by row block."""


def espirit(
    kspace_CHW: Tensor,
    acs: tuple[int, int],
    acs_rows: tuple[int, int] | None = None,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.8,
) -> Tensor:
    """One set of sensitivity maps.

    Args:
        kspace_CHW: k-space, complex, centred, scaled to about 1; its ACS region alone is used.
        acs: [start, stop) of the ACS along W.
        acs_rows: The same along H, or None for a fully sampled readout.
        kernel: Side of the calibration kernel; at most half of the ACS along each axis.
        threshold: Singular values below this share of the largest are noise.
        crop: Eigenvalues below this are no signal: maps are 0 there.

    Returns:
        (C, H, W) complex: unit root-sum-of-squares on the support, 0 elsewhere; 0 for no signal.
    """
    coils, height, width = kspace_CHW.shape
    region = _calibration(kspace_CHW, acs, acs_rows)
    # a kernel over half of the ACS at most, or there are too few patches to learn it from
    sides = (min(kernel, (region.shape[1] + 1) // 2), min(kernel, (region.shape[2] + 1) // 2))
    if min(sides) < 1 or not bool((region != 0).any()):
        return torch.zeros_like(kspace_CHW)
    correlation = _correlation(_row_space(region, sides, threshold), sides)
    reference = _principal_coil(region)
    maps = torch.empty_like(kspace_CHW)
    rows = max(1, _BLOCK // (coils * coils * width))
    across = _harmonics(width, sides[1], kspace_CHW)
    down = _harmonics(height, sides[0], kspace_CHW)
    for first in range(0, height, rows):
        block = slice(first, first + rows)
        gram_HWCC = torch.einsum("hd,cked,we->hwck", down[block], correlation.mT, across)
        maps[:, block] = _leading(gram_HWCC, reference, crop)
    return maps


def _calibration(
    kspace_CHW: Tensor, acs: tuple[int, int], acs_rows: tuple[int, int] | None
) -> Tensor:
    height = kspace_CHW.shape[1]
    if acs_rows is None:
        rows = min(height, MAX_ROWS)
        acs_rows = (height // 2 - rows // 2, height // 2 - rows // 2 + rows)
    return kspace_CHW[:, slice(*acs_rows), slice(*acs)]


def _row_space(region_CHW: Tensor, sides: tuple[int, int], threshold: float) -> Tensor:
    """Right singular vectors (K, C, ky, kx) of the matrix whose rows are all patches."""
    patches = region_CHW.unfold(1, sides[0], 1).unfold(2, sides[1], 1)
    matrix = patches.permute(1, 2, 0, 3, 4).reshape(-1, region_CHW.shape[0] * math.prod(sides))
    # eigenvectors of A^H A: the matrix has few columns and many rows
    values, vectors = torch.linalg.eigh(matrix.mH @ matrix)
    kept = values > (threshold**2) * values[-1]
    return vectors[:, kept].T.reshape(-1, region_CHW.shape[0], *sides)


def _correlation(kernels_KCyx: Tensor, sides: tuple[int, int]) -> Tensor:
    """sum_k conj(v_kc) * v_kc' by lag: (C, C, 2 ky - 1, 2 kx - 1), lag 0 in the middle."""
    size = (2 * sides[0] - 1, 2 * sides[1] - 1)
    spectrum = torch.fft.fft2(kernels_KCyx, s=size)
    power = torch.einsum("kcyx,kdyx->cdyx", spectrum.conj(), spectrum)
    # conj(V_c) V_d is the sum over lags d = t - t' of e^{+i w d}: back with the forward transform
    lags = torch.fft.fft2(power) / math.prod(size)
    return torch.fft.fftshift(lags, dim=(-2, -1)) / math.prod(sides)


def _harmonics(size: int, side: int, like: Tensor) -> Tensor:
    """exp(i w_n d) for pixels n and lags d: (size, 2 side - 1)."""
    pixel = torch.arange(size, device=like.device) - size // 2
    lag = torch.arange(1 - side, side, device=like.device)
    angle = (2 * math.pi / size) * (pixel[:, None] * lag).to(torch.float64)
    return torch.polar(torch.ones_like(angle), angle).to(like.dtype)


def _principal_coil(region_CHW: Tensor) -> Tensor:
    flat = region_CHW.flatten(1)
    return torch.linalg.eigh(flat @ flat.mH).eigenvectors[:, -1]


def _leading(gram_HWCC: Tensor, reference_C: Tensor, crop: float) -> Tensor:
    """Leading eigenvectors (C, H, W) by power iteration; their phase is that of the reference."""
    strongest = gram_HWCC.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    index = strongest[..., None, None].expand(*gram_HWCC.shape[:-1], 1)
    vector = torch.gather(gram_HWCC, -1, index)
    power = gram_HWCC
    for _ in range(_SQUARINGS):
        power = power @ power
    for _ in range(_ITERATIONS):
        vector = _unit(power @ vector)
    seen = gram_HWCC @ vector
    value, vector = torch.linalg.vector_norm(seen, dim=-2, keepdim=True), _unit(seen)
    along = (reference_C.conj()[:, None] * vector).sum(-2, keepdim=True)
    phase = torch.where(along == 0, torch.ones_like(along), along / along.abs())
    vector = vector * phase.conj() * (value > crop)
    return vector[..., 0].permute(2, 0, 1)


def _unit(vector: Tensor) -> Tensor:
    """Vectors (..., C, 1) of length 1; zeros stay zeros."""
    return divide(vector, torch.linalg.vector_norm(vector, dim=-2, keepdim=True))
