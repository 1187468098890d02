"""Sensitivity maps learned from the ACS lines (Sriram et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.unet import UNet
from dealias.models.network import PerCoil
from dealias.physics.coils import unit_maps
from dealias.physics.fourier import ifft
from dealias.scan.measurement import Measurement


class CoilDenoiser(PerCoil):
    """The denoiser of one coil's low-resolution image; coils do not see each other."""

    def __init__(self, channels: int, pools: int) -> None:
        super().__init__()
        self.denoiser = NormalisedDenoiser(UNet(2, 2, channels, pools))

    def forward(self, images_N1HW: Tensor) -> Tensor:
        """(N, 1, H, W) complex to the same, each item of N alone."""
        return self.denoiser(images_N1HW)


class SensitivityNetwork(torch.nn.Module):
    """Maps of unit root-sum-of-squares; 0 where no coil has signal.

    Args:
        channels: Of the U-Net's first level.
        pools: Its poolings.
    """

    def __init__(self, channels: int, pools: int) -> None:
        super().__init__()
        self.coil = CoilDenoiser(channels, pools)

    def forward(self, m: Measurement) -> Tensor:
        """Sensitivity maps (B, S, C, H, W) complex from the ACS region alone."""
        zero = torch.zeros((), dtype=m.kspace_BSCHW.dtype, device=m.kspace_BSCHW.device)
        low_BSCHW = ifft(torch.where(m.acs_B11HW, m.kspace_BSCHW, zero), m.axes)
        shape = low_BSCHW.shape
        maps_BSCHW = self.coil(low_BSCHW.reshape(-1, 1, *shape[-2:])).reshape(shape)
        return unit_maps(maps_BSCHW, coil_axis=2)
