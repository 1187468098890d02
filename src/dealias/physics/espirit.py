"""Sensitivity maps from the ACS lines by ESPIRiT (Uecker et al., Magn Reson Med 71:990, 2014)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dealias.physics.coils import divide

MAX_ROWS = 24
"""ACS rows used along a fully sampled readout; more do not help the kernels."""
_SQUARINGS, _ITERATIONS = 3, 4
"""Power iterations with the Gram matrices' eighth powers: 32 plain ones for the price of 14."""
_BLOCK = 1 << 20
"""Complex numbers in the Gram matrices held at once: they stay in a processor's cache."""
_TURN = 0.3
"""Radians that the Gram matrices' fastest wave turns from one point of the coarse grid to the next.
"""
_ALIKE = 0.998
"""Neighbours of a lower correlation have too much between them to interpolate."""


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
    # squares of single precision would mix the singular vectors on both sides of the threshold
    region = _calibration(kspace_CHW, acs, acs_rows).to(torch.complex128)
    # a kernel over half of the ACS at most, or there are too few patches to learn it from
    sides = (min(kernel, (region.shape[1] + 1) // 2), min(kernel, (region.shape[2] + 1) // 2))
    if min(sides) < 1 or not bool((region != 0).any()):
        return torch.zeros_like(kspace_CHW)
    correlation = _correlation(_row_space(region, sides, threshold), sides)
    grams = _Grams(correlation.to(kspace_CHW.dtype), sides, kspace_CHW.shape[1:])
    maps = _eigenmaps(grams, crop)
    along = (_principal_coil(region).to(maps.dtype).conj()[:, None, None] * maps).sum(0)
    return maps * _phase(along).conj()


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


@dataclass(frozen=True)
class _Grams:
    """The kernels' Gram matrix at every pixel: a trigonometric polynomial.

    Attributes:
        lags_CCyx: Its coefficients, lag 0 in the middle.
        sides: (ky, kx) of the kernels: waves of up to ky - 1 and kx - 1 cycles.
        hw: (H, W) of the image.
    """

    lags_CCyx: Tensor
    sides: tuple[int, int]
    hw: tuple[int, ...]

    def leading(self, row_N: Tensor, column_N: Tensor) -> tuple[Tensor, Tensor]:
        """Leading eigenvectors (C, N), their phase of no meaning, and eigenvalues (N,)."""
        block = max(1, _BLOCK // len(self.lags_CCyx) ** 2)
        pieces = zip(row_N.split(block), column_N.split(block), strict=True)
        vectors, values = zip(*(_leading(self._at(*piece)) for piece in pieces), strict=True)
        return torch.cat(vectors).T, torch.cat(values)

    def _at(self, row_N: Tensor, column_N: Tensor) -> Tensor:
        down, across = self._waves(row_N, 0), self._waves(column_N, 1)
        waves = (down[:, :, None] * across[:, None]).flatten(1)
        coils = len(self.lags_CCyx)
        lags = self.lags_CCyx.reshape(coils * coils, -1)
        return (waves @ lags.T).reshape(-1, coils, coils)

    def _waves(self, pixel_N: Tensor, axis: int) -> Tensor:
        """exp(i w_n d) for pixels n and lags d: (N, 2 side - 1)."""
        size, side = self.hw[axis], self.sides[axis]
        lag = torch.arange(1 - side, side, device=pixel_N.device)
        # whole turns are taken out as integers
        turns = ((pixel_N - size // 2)[:, None] * lag) % size
        angle = turns.to(torch.float64) * (2 * math.pi / size)
        return torch.polar(torch.ones_like(angle), angle).to(self.lags_CCyx.dtype)


def _eigenmaps(grams: _Grams, crop: float) -> Tensor:
    """Leading eigenvectors (C, H, W) where the eigenvalue is above `crop`, 0 elsewhere.

    The Gram matrices are smooth, and so, mostly, are their eigenvectors: they are computed on a
    coarse grid and interpolated, and computed again where they turn fast or `crop` is near.
    """
    steps, margin = _coarseness(grams)
    device = grams.lags_CCyx.device
    axes = (torch.arange(0, n + s, s, device=device) for n, s in zip(grams.hw, steps, strict=True))
    row, column = torch.meshgrid(*axes, indexing="ij")
    vectors, values = grams.leading(row.flatten(), column.flatten())
    vectors, values = vectors.reshape(-1, *row.shape), values.reshape(row.shape)
    if steps == (1, 1):
        return (vectors * (values > crop))[:, :-1, :-1].contiguous()
    lowest, highest = -_highest(-values), _highest(values)
    clear = (lowest > crop + margin) & (_alikeness(vectors) > _ALIKE)
    maps = _finer(_finer(vectors, 2, steps[1], grams.hw[1]), 1, steps[0], grams.hw[0])
    maps = _unit(maps, 0) * _spread(clear, steps, grams.hw)
    unsure = ~clear & (highest > crop - margin)
    row, column = torch.nonzero(_spread(unsure, steps, grams.hw), as_tuple=True)
    vectors, values = grams.leading(row, column)
    maps[:, row, column] = vectors * (values > crop)
    return maps


def _coarseness(grams: _Grams) -> tuple[tuple[int, ...], float]:
    """Steps of the coarse grid, and how far its eigenvalues may be off in between.

    A wave of values in 0..1 bends by at most half of its squared frequency (Bernstein), of which
    linear interpolation is off by an eighth; an eigenvalue by no more than its matrix.
    """
    waves = [2 * math.pi * (side - 1) / n for n, side in zip(grams.hw, grams.sides, strict=True)]
    steps = tuple(max(1, int(_TURN / wave)) if wave else 1 for wave in waves)
    return steps, sum((wave * step) ** 2 / 16 for wave, step in zip(waves, steps, strict=True))


def _highest(values_HW: Tensor) -> Tensor:
    """The highest of each cell's four corners."""
    return torch.nn.functional.max_pool2d(values_HW[None, None], 2, 1)[0, 0]


def _alikeness(vectors_CHW: Tensor) -> Tensor:
    """The lowest correlation along each cell's four sides."""
    down = (vectors_CHW[:, 1:].conj() * vectors_CHW[:, :-1]).sum(0).abs()
    across = (vectors_CHW[:, :, 1:].conj() * vectors_CHW[:, :, :-1]).sum(0).abs()
    return torch.minimum(
        torch.minimum(down[:, 1:], down[:, :-1]), torch.minimum(across[1:], across[:-1])
    )


def _spread(cells: Tensor, steps: tuple[int, ...], hw: tuple[int, ...]) -> Tensor:
    """What holds of each cell, at its pixels."""
    pixels = cells.repeat_interleave(steps[0], 0).repeat_interleave(steps[1], 1)
    return pixels[: hw[0], : hw[1]]


def _finer(vectors_CHW: Tensor, axis: int, step: int, size: int) -> Tensor:
    """Vectors at `size` pixels, each between two neighbours that are brought to one phase."""
    cells = vectors_CHW.shape[axis] - 1
    before, after = vectors_CHW.narrow(axis, 0, cells), vectors_CHW.narrow(axis, 1, cells)
    after = after * _phase((after.conj() * before).sum(0))
    part = torch.arange(step, device=before.device).to(before.real.dtype) / step
    part = part.view(step, *(1,) * (2 - axis))
    between = before.unsqueeze(axis + 1) + part * (after - before).unsqueeze(axis + 1)
    return between.flatten(axis, axis + 1).narrow(axis, 0, size)


def _leading(gram_NCC: Tensor) -> tuple[Tensor, Tensor]:
    """Leading eigenvectors (N, C) and eigenvalues (N,) by power iteration."""
    strongest = gram_NCC.diagonal(dim1=1, dim2=2).real.argmax(-1)
    vector = torch.gather(gram_NCC, 2, strongest[:, None, None].expand(-1, gram_NCC.shape[1], 1))
    power = gram_NCC
    for _ in range(_SQUARINGS):
        power = power @ power
    for _ in range(_ITERATIONS):
        vector = _unit(power @ vector, 1)
    seen = gram_NCC @ vector
    return _unit(seen, 1)[..., 0], torch.linalg.vector_norm(seen, dim=1)[..., 0]


def _unit(vector: Tensor, axis: int) -> Tensor:
    """Vectors of length 1; zeros stay zeros."""
    return divide(vector, torch.linalg.vector_norm(vector, dim=axis, keepdim=True))


def _phase(z: Tensor) -> Tensor:
    """The number of modulus 1 along z, and 1 for 0."""
    return torch.where(z == 0, torch.ones_like(z), torch.sgn(z))
