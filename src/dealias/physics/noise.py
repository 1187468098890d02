"""Noise of the coils: its covariance, whitening, and SNR maps.

A covariance is Psi[i, j] = E[n_i conj(n_j)]: Psi[i, i] is the variance of a coil's complex number,
the sum of its real and its imaginary part's. Noise is circular (both parts alike), white in
k-space, and has the same Psi in k-space and in the images, as transforms are orthonormal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dealias.errors import DataError, SettingsError
from dealias.physics.coils import divide
from dealias.physics.fourier import ifft
from dealias.randomness import torch_seed

SINGULAR = 1e-10
"""Below this, an eigenvalue of the correlation between coils is rounding: a coil repeats others."""


class SnrMap(NamedTuple):
    """Magnitude over noise (0 where there is none), and noise: the deviation of the real part.

    `std_HW` over that of a full scan and over sqrt(R) is the g-factor.
    """

    snr_HW: Tensor
    std_HW: Tensor


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
        found, expected = f"{samples} samples of {coils} coils", f"at least {2 * coils}"
        raise DataError("noise", found, expected, "measure more noise")
    if not bool(torch.isfinite(noise_CN).all()):
        raise DataError("noise", "samples that are not finite", "finite ones", "check the scan")
    noise_CN = noise_CN.to(torch.complex128)
    return noise_CN @ noise_CN.mH / samples


def covariance_from_corners(kspace_ZCHW: Tensor, share: float = 0.1) -> Tensor:
    """Noise covariance between coils, of the air in a corner of an ordinary scan's images.

    It takes the corner that is darkest over all slices, so anatomy may reach into three. What is
    in all four (anatomy, ghosts) adds to the noise; a receiver's filter that falls off towards the
    edges of the readout takes from it. Where only a part of k-space was measured (padded, partial
    Fourier, no corners), Psi is that of the samples measured; blank slices do not count.

    Args:
        kspace_ZCHW: k-space, complex, without gaps: 0 in all coils only around what was measured.
        share: Of H and of W that a corner box has, above 0 and at most 0.5.

    Returns:
        Psi (C, C) complex128; see `covariance`.

    Raises:
        DataError: Undersampled k-space, whose signal folds into the corners; see also `covariance`.
        SettingsError: The share is out of range.
    """
    if not 0 < share <= 0.5:
        raise SettingsError("share", f"{share:g}", "above 0, at most 0.5")
    measured_ZHW = (kspace_ZCHW != 0).any(1)
    live_Z = measured_ZHW.any(2).any(1)
    if _gaps(measured_ZHW, 1) or _gaps(measured_ZHW, 2):
        do = "use a fully sampled scan, or one of noise alone"
        raise DataError("noise", "undersampled k-space", "k-space without gaps", do)
    # what was not measured brings no noise into the images
    sampled_Z111 = measured_ZHW[live_Z].to(torch.float64).mean((1, 2))[:, None, None, None]
    images_ZCHW = ifft(kspace_ZCHW[live_Z].to(torch.complex128)) / sampled_Z111.sqrt()
    return covariance(_darkest_corner(images_ZCHW, share).movedim(1, 0).flatten(1))


def _gaps(measured_ZHW: Tensor, axis: int) -> bool:
    """Whether anything is missing between measured samples along an axis."""
    begun = measured_ZHW.int().cumsum(axis) > 0
    going_on = measured_ZHW.flip(axis).int().cumsum(axis).flip(axis) > 0
    return bool((begun & going_on & ~measured_ZHW).any())


def _darkest_corner(images_ZCHW: Tensor, share: float) -> Tensor:
    height, width = (max(1, round(share * side)) for side in images_ZCHW.shape[-2:])
    rows, columns = (slice(height), slice(-height, None)), (slice(width), slice(-width, None))
    boxes = [images_ZCHW[..., row, column] for row in rows for column in columns]
    return min(boxes, key=lambda box: float(torch.linalg.vector_norm(box)))


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
    pairs = alive[:, None] & alive
    std = std_C[alive]
    correlation = psi_CC[alive][:, alive] / (std[:, None] * std)
    hermitian = torch.allclose(correlation, correlation.mH, atol=1e-6)
    if not (alive.any() and hermitian and torch.linalg.eigvalsh(correlation)[0] > SINGULAR):
        found, do = "a matrix without inverse", "leave out coils that repeat others"
        raise DataError("noise covariance", found, "a Hermitian one of independent coils", do)
    root, scale = torch.linalg.cholesky(correlation), torch.diag(1 / std).to(correlation)
    whitener_CC = torch.zeros_like(psi_CC)
    whitener_CC[pairs] = torch.linalg.solve_triangular(root, scale, upper=False).flatten()
    return whitener_CC


def prewhiten(kspace_CHW: Tensor, whitener_CC: Tensor) -> Tensor:
    """k-space (or coil images, or sensitivity maps) of virtual coils, whose noise has Psi = I.

    Args:
        kspace_CHW: (..., C, H, W) complex.
        whitener_CC: Of `whitener`, of the same coils.

    Returns:
        The same shape and dtype; samples that are 0 stay 0.
    """
    return torch.einsum("cd,...dhw->...chw", whitener_CC.to(kspace_CHW), kspace_CHW)


def snr_map(
    reconstruct: Callable[[Tensor], Tensor],
    kspace_CHW: Tensor,
    covariance_CC: Tensor,
    seed: int,
    replicas: int = 100,
) -> SnrMap:
    """SNR by pseudo multiple replicas: the same data reconstructed with more noise again and again.

    Robson et al., Magn Reson Med 60:895 (2008). For linear reconstructions; magnitudes count as
    linear where SNR is above about 5. `std_HW` is right to a share of 1 in 2 sqrt(replicas - 1) for
    a complex image, and sqrt(2) times that for a magnitude.

    Args:
        reconstruct: k-space (C, H, W) to an image (H, W), complex or magnitude: for a Reconstructor
            of `scan.measurement`, measure, call it, and window the image.
        kspace_CHW: k-space, complex, 0 in all coils where nothing was measured (and no noise is).
        covariance_CC: Psi in the square of k-space's units, singular or not; see `covariance`.
        seed: Of the noise, which is the same on all devices.
        replicas: At least 2.

    Raises:
        SettingsError: Fewer than 2 replicas.
    """
    if replicas < 2:
        raise SettingsError("replicas", str(replicas), "at least 2")
    values, vectors = torch.linalg.eigh(covariance_CC.to(torch.complex128))
    root_CC = vectors * values.clamp(min=0).sqrt()
    measured_HW, image_HW = (kspace_CHW != 0).any(0), reconstruct(kspace_CHW)
    total_HW, square_HW = torch.zeros_like(image_HW), torch.zeros_like(image_HW.abs())
    for replica in range(replicas):
        rng = torch.Generator().manual_seed(torch_seed(seed, "replica", replica))
        white_CHW = torch.randn(kspace_CHW.shape, dtype=kspace_CHW.dtype, generator=rng)
        noise_CHW = prewhiten(white_CHW.to(kspace_CHW.device), root_CC)
        change_HW = reconstruct(kspace_CHW + noise_CHW * measured_HW) - image_HW
        total_HW, square_HW = total_HW + change_HW, square_HW + change_HW.abs() ** 2
    variance_HW = (square_HW - total_HW.abs() ** 2 / replicas).clamp(min=0) / (replicas - 1)
    std_HW = (variance_HW / (2 if image_HW.is_complex() else 1)).sqrt()
    return SnrMap(divide(image_HW.abs() * (std_HW > 0), std_HW), std_HW)
