"""SNR maps: how far the signal stands above the noise of a reconstruction, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.physics.coils import divide
from dealias.physics.noise import prewhiten
from dealias.randomness import torch_seed


class SnrMap(NamedTuple):
    """Magnitude over noise, 0 where there is none, and noise: the deviation of the real part.

    The latter over that of a full scan and sqrt(R) is the g-factor.
    """

    snr_HW: Tensor
    std_HW: Tensor


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
        covariance_CC: Psi as of `noise.covariance`, in the square of k-space's units; may be
            singular.
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
