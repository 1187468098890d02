"""Noise of the coils: its covariance, and whitening.

A covariance is Psi[i, j] = E[n_i conj(n_j)]: Psi[i, i] is the variance of a coil's complex number,
the sum of its real and its imaginary part's. Noise is circular (both parts alike), white in
k-space, and has the same Psi in k-space and in the images, as transforms are orthonormal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.errors import DataError, SettingsError
from dealias.physics.fourier import ifft

SINGULAR = 1e-10
"""Smaller eigenvalues of the correlation between coils are rounding: a coil repeats others."""
SMOOTH = 1.5
"""Energy over that of white noise as rough: differences between its neighbours have twice its."""


def covariance(noise_CN: Tensor) -> Tensor:
    """Noise covariance between coils, of a scan of noise alone.

    Args:
        noise_CN: N samples of C coils, complex, of mean 0.

    Returns:
        Psi (C, C) complex128, in the square of the data's units.

    Raises:
        DataError: Fewer than 2 C samples, or some that are not finite.
    """
    coils, samples = noise_CN.shape
    if samples < 2 * coils:
        raise DataError("noise", f"{samples} samples of {coils} coils", f"at least {2 * coils}")
    if not bool(torch.isfinite(noise_CN).all()):
        raise DataError("noise", "samples that are not finite", "finite ones", "check the scan")
    noise_CN = noise_CN.to(torch.complex128)
    return noise_CN @ noise_CN.mH / samples


def covariance_from_corners(kspace_ZCHW: Tensor, share: float = 0.1) -> Tensor:
    """Noise covariance between coils, of the air in a corner of an ordinary scan's images.

    It takes the corner that is darkest over all slices, so anatomy may reach into three; smooth
    signal in all four is refused where it has half as much energy as the noise. Less adds to the
    noise, and a receiver's filter that falls off towards the readout's edges takes from it: crop
    those rows. Of k-space measured in part (padded, partial Fourier), Psi is that of this part.

    Args:
        kspace_ZCHW: k-space, complex; 0 in all coils only around what was measured, not between.
        share: Of H and of W that a corner box has, above 0 and at most 0.5.

    Returns:
        Psi (C, C) complex128; see `covariance`.

    Raises:
        DataError: Undersampled k-space, whose signal folds into the corners; no air; broken data.
        SettingsError: The share is out of range.
    """
    if not 0 < share <= 0.5:
        raise SettingsError("share", f"{share:g}", "above 0, at most 0.5")
    box_ZChw = _darkest_corner(_measured_images(kspace_ZCHW), share)
    if _power(box_ZChw) > SMOOTH / 2 * min(_power(box_ZChw.diff(dim=axis)) for axis in (-2, -1)):
        raise DataError("noise", "signal in all four corners", "air in one", "give a smaller share")
    return covariance(box_ZChw.movedim(1, 0).flatten(1))


def _measured_images(kspace_ZCHW: Tensor) -> Tensor:
    """Coil images of the rectangle of k-space that was measured, and of live slices."""
    measured_ZHW = (kspace_ZCHW != 0).any(1)
    span_ZHW = _span(measured_ZHW, 1) | _span(measured_ZHW, 2)
    if measured_ZHW.sum() <= 0.98 * span_ZHW.sum():  # real scans hold a zero here and there
        found, do = "undersampled or blank k-space", "use a full scan, or one of noise alone"
        raise DataError("noise", found, "k-space without gaps", do)
    live_Z, rows_H, columns_W = (span_ZHW.any(axes) for axes in ((1, 2), (0, 2), (0, 1)))
    kspace_ZCHW = kspace_ZCHW[live_Z][:, :, rows_H][..., columns_W].to(torch.complex128)
    sampled_Z = span_ZHW[live_Z].sum((1, 2)) / kspace_ZCHW[0, 0].numel()  # no noise elsewhere
    return ifft(kspace_ZCHW) / sampled_Z.sqrt()[:, None, None, None]


def _span(measured_ZHW: Tensor, axis: int) -> Tensor:
    """From the first to the last measured sample along an axis."""
    begun = measured_ZHW.int().cumsum(axis) > 0
    return begun & (measured_ZHW.flip(axis).int().cumsum(axis).flip(axis) > 0)


def _darkest_corner(images_ZCHW: Tensor, share: float) -> Tensor:
    height, width = (max(1, round(share * side)) for side in images_ZCHW.shape[-2:])
    rows, columns = (slice(height), slice(-height, None)), (slice(width), slice(-width, None))
    return min((images_ZCHW[..., row, column] for row in rows for column in columns), key=_power)


def _power(values: Tensor) -> float:
    return float((values.abs() ** 2).mean())


def whitener(covariance_CC: Tensor) -> Tensor:
    """W, for which W Psi W^H = I: the inverse of the Cholesky factor.

    A coil without any noise is dead: its row and column of W are 0, so that it becomes a coil of
    zeros, and the others are whitened as if it were not there. W is (C, C) complex128.

    Raises:
        DataError: Psi is no covariance, is singular among live coils, or all coils are dead.
    """
    psi_CC = covariance_CC.to(torch.complex128)
    std_C = psi_CC.diagonal().real.sqrt()
    alive = std_C != 0
    std = std_C[alive]
    correlation = psi_CC[alive][:, alive] / (std[:, None] * std)
    hermitian = torch.allclose(correlation, correlation.mH, atol=1e-6)
    if not (alive.any() and hermitian and torch.linalg.eigvalsh(correlation)[0] > SINGULAR):
        found, do = "a matrix without inverse", "leave out coils that repeat others"
        raise DataError("noise covariance", found, "a Hermitian one of independent coils", do)
    root, scale = torch.linalg.cholesky(correlation), torch.diag(1 / std).to(correlation)
    whitener_CC, pairs = torch.zeros_like(psi_CC), alive[:, None] & alive
    whitener_CC[pairs] = torch.linalg.solve_triangular(root, scale, upper=False).flatten()
    return whitener_CC


def prewhiten(kspace_CHW: Tensor, whitener_CC: Tensor) -> Tensor:
    """Data (..., C, H, W), or maps, of virtual coils whose noise has Psi = I: W applied to coils.

    For data of the coils that `whitener` saw, in the same units; samples that are 0 stay 0.
    """
    return torch.einsum("cd,...dhw->...chw", whitener_CC.to(kspace_CHW), kspace_CHW)
