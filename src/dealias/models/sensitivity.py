"""Sensitivity maps learned from the ACS lines (Sriram et al. 2020; Xin et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.network import PerCoil
from dealias.physics.coils import unit_maps
from dealias.physics.fourier import ifft
from dealias.scan.measurement import Measurement


class CoilDenoiser(PerCoil):
    """The denoiser of one coil's low-resolution image; coils do not see each other."""

    def __init__(self, denoiser: NormalisedDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, images_NSHW: Tensor) -> Tensor:
        """(N, S, H, W) complex to the same, each item of N alone."""
        return self.denoiser(images_NSHW)


class SensitivityNetwork(torch.nn.Module):
    """Maps of unit root-sum-of-squares; 0 where no coil has signal.

    Args:
        denoiser: Of a coil's images.
        adjacent: Whether it sees a coil's adjacent slices together as channels (PromptMR+), or each
            alone.
        joint: Whether all slices' coils together are of unit root-sum-of-squares (HUMUS-Net), or
            those of each slice.
    """

    def __init__(
        self, denoiser: NormalisedDenoiser, adjacent: bool = False, joint: bool = False
    ) -> None:
        super().__init__()
        self.coil = CoilDenoiser(denoiser)
        self.adjacent, self.joint = adjacent, joint

    def forward(self, m: Measurement) -> Tensor:
        """Sensitivity maps (B, S, C, H, W) complex from the ACS region alone."""
        zero = torch.zeros((), dtype=m.kspace_BSCHW.dtype, device=m.kspace_BSCHW.device)
        low_BSCHW = ifft(torch.where(m.acs_B11HW, m.kspace_BSCHW, zero), m.axes)
        maps_BSCHW = self._of_coils(low_BSCHW)
        if self.joint:
            return unit_maps(maps_BSCHW.flatten(1, 2), coil_axis=1).reshape(maps_BSCHW.shape)
        return unit_maps(maps_BSCHW, coil_axis=2)

    def _of_coils(self, low_BSCHW: Tensor) -> Tensor:
        batch, slices, coils, *grid = low_BSCHW.shape
        if not self.adjacent:
            return self.coil(low_BSCHW.reshape(-1, 1, *grid)).reshape(low_BSCHW.shape)
        images_NSHW = low_BSCHW.transpose(1, 2).reshape(-1, slices, *grid)
        maps_BCSHW = self.coil(images_NSHW).reshape(batch, coils, slices, *grid)
        return maps_BCSHW.transpose(1, 2)
