"""Sensitivity maps from the ACS lines by ESPIRiT (Uecker et al., Magn Reson Med 71:990, 2014)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dealias.physics.coils import divide

KERNEL = 6
"""Side of the calibration kernel, where there are ACS lines enough."""
MAX_ROWS = 24
"""ACS rows used along a fully sampled readout; more do not help the kernels."""
_SQUARINGS, _ITERATIONS = 5, 4
"""Power iterations with the Gram matrices' 32nd powers: 128 plain ones for the price of a few.

Where a body fills the field of view, two eigenvalues are near each other, and 32 do not suffice."""
_BLOCK = 1 << 20
"""Complex numbers in the Gram matrices held at once: they stay in a processor's cache."""


def espirit(
    kspace_CHW: Tensor,
    acs: tuple[int, int],
    acs_rows: tuple[int, int] | None = None,
    kernel: int = KERNEL,
    threshold: float = 0.0316,
    crop: float = 0.8,
    sets: int = 1,
) -> Tensor:
    """Sets of sensitivity maps; a second one is there where the body is folded upon itself.

    Args:
        kspace_CHW: k-space, complex, centred, scaled to about 1; its ACS region alone is used.
        acs: [start, stop) of the ACS along W.
        acs_rows: The same along H, or None for a fully sampled readout.
        kernel: Side of the calibration kernel; at most half of the ACS along each axis.
        threshold: Singular values below this share of the largest are noise; the default is
            that of bart, which squares it.
        crop: Eigenvalues below this are no signal: maps are 0 there.
        sets: M, how many.

    Returns:
        (M, C, H, W) complex: orthogonal to each other, each of unit root-sum-of-squares on its
        support and 0 elsewhere; 0 for no signal.
    """
    # squares of single precision would mix the singular vectors on both sides of the threshold
    region = _calibration(kspace_CHW, acs, acs_rows).to(torch.complex128)
    # a kernel over half of the ACS at most, or there are too few patches to learn it from
    sides = (min(kernel, (region.shape[1] + 1) // 2), min(kernel, (region.shape[2] + 1) // 2))
    if min(sides) < 1 or not bool((region != 0).any()):
        return torch.zeros_like(kspace_CHW).expand(sets, -1, -1, -1)
    correlation = _correlation(_row_space(region, sides, threshold), sides)
    height, width = kspace_CHW.shape[1:]
    maps = _eigenmaps(correlation.to(kspace_CHW.dtype), (height, width), crop, sets)
    principal = _principal_coil(region).to(maps.dtype)[:, None, None]
    along = (principal.conj() * maps).sum(1, keepdim=True)
    # an eigensolver leaves 1e-36 of a dead coil
    alive = (region != 0).flatten(1).any(1)[:, None, None]
    return maps * _phase(along).conj() * alive


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


def _principal_coil(region_CHW: Tensor) -> Tensor:
    flat = region_CHW.flatten(1)
    return torch.linalg.eigh(flat @ flat.mH).eigenvectors[:, -1]


def _eigenmaps(lags_CCyx: Tensor, hw: tuple[int, int], crop: float, sets: int) -> Tensor:
    """Leading eigenvectors (M, C, H, W) where the eigenvalue is above `crop`, 0 elsewhere.

    Args:
        lags_CCyx: The kernels' correlation. Their Gram matrix at a pixel is the trigonometric
            polynomial of which these are the coefficients.
        hw: (H, W) of the image.
        crop: See `espirit`.
        sets: M.
    """
    down_Hy, across_Wx = (_waves(n, lags_CCyx, axis) for n, axis in zip(hw, (2, 3), strict=True))
    half_WyCC = torch.einsum("wx,cdyx->wycd", across_Wx, lags_CCyx)
    maps = []
    for rows_hy in torch.split(down_Hy, max(1, _BLOCK // half_WyCC[:, 0].numel())):
        gram_NCC = torch.einsum("hy,wycd->hwcd", rows_hy, half_WyCC).flatten(0, 1)
        vectors, values = _leading(gram_NCC, sets)
        maps.append(torch.unflatten(vectors * (values > crop), 0, (-1, hw[1])))
    return torch.cat(maps).permute(2, 3, 0, 1).contiguous()


def _waves(size: int, lags_CCyx: Tensor, axis: int) -> Tensor:
    """exp(i w_n d) for pixels n and the lags d of an axis: (size, 2 side - 1)."""
    side = (lags_CCyx.shape[axis] + 1) // 2
    lag = torch.arange(1 - side, side, device=lags_CCyx.device)
    pixel = torch.arange(size, device=lags_CCyx.device) - size // 2
    # whole turns are taken out as integers
    angle = ((pixel[:, None] * lag) % size).to(torch.float64) * (2 * math.pi / size)
    return torch.polar(torch.ones_like(angle), angle).to(lags_CCyx.dtype)


def _leading(gram_NCC: Tensor, sets: int) -> tuple[Tensor, Tensor]:
    """Leading eigenvectors (N, M, C) and eigenvalues (N, M, 1), one after the other."""
    vectors: list[Tensor] = []
    values: list[Tensor] = []
    for _ in range(sets):
        vector = _power_iteration(gram_NCC)
        for earlier in vectors:
            vector = _unit(vector - earlier * (earlier.mH @ vector))
        values.append(_length(gram_NCC @ vector))
        vectors.append(vector)
        gram_NCC = gram_NCC - values[-1] * (vector @ vector.mH)
    return torch.stack(vectors, 1)[..., 0], torch.stack(values, 1)[..., 0]


def _power_iteration(gram_NCC: Tensor) -> Tensor:
    """The leading eigenvector, (N, C, 1)."""
    strongest = gram_NCC.diagonal(dim1=1, dim2=2).real.argmax(-1)
    vector = torch.gather(gram_NCC, 2, strongest[:, None, None].expand(-1, gram_NCC.shape[1], 1))
    power = gram_NCC
    for _ in range(_SQUARINGS):
        power = power @ power
        # or small eigenvalues would underflow; one of all zeros stays so
        trace_N = power.diagonal(dim1=1, dim2=2).real.sum(-1)
        power *= torch.where(trace_N == 0, 1, 1 / trace_N)[:, None, None]
    for _ in range(_ITERATIONS):
        vector = _unit(power @ vector)
    return _unit(gram_NCC @ vector)


def _unit(vector: Tensor) -> Tensor:
    """Vectors (N, C, 1) of length 1; zeros stay zeros."""
    return divide(vector, _length(vector))


def _length(vector: Tensor) -> Tensor:
    """Of vectors (N, C, 1): (N, 1, 1)."""
    # torch takes 50 times as long for complex numbers
    real = torch.view_as_real(vector.resolve_conj())
    return torch.linalg.vector_norm(real, dim=(1, 3), keepdim=True)[..., 0]


def _phase(z: Tensor) -> Tensor:
    """The number of modulus 1 along z, and 1 for 0."""
    return torch.where(z == 0, torch.ones_like(z), torch.sgn(z))
