"""Sensitivity maps: learned (Sriram et al. 2020; Xin et al. 2024), given, or both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.network import Maps, PerCoil
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


class GivenMaps(torch.nn.Module):
    """The measurement's own maps.

    Args:
        joint: As of `SensitivityNetwork`.
    """

    def __init__(self, joint: bool = False) -> None:
        super().__init__()
        self.joint = joint

    def forward(self, m: Measurement) -> Tensor:
        """Sensitivity maps (B, S, C, H, W) complex.

        Raises:
            SettingsError: The measurement has none.
        """
        return _unit(given_maps(m), self.joint)


class SensitivityNetwork(torch.nn.Module):
    """Maps of unit root-sum-of-squares; 0 where no coil has signal.

    Args:
        denoiser: Of a coil's images.
        adjacent: Whether it sees a coil's adjacent slices together as channels (PromptMR+), or each
            alone.
        joint: Whether all slices' coils together are of unit root-sum-of-squares (HUMUS-Net), or
            those of each slice.
        refines: Whether it sees the measurement's own maps in place of the ACS lines' images.
    """

    def __init__(
        self,
        denoiser: NormalisedDenoiser,
        adjacent: bool = False,
        joint: bool = False,
        refines: bool = False,
    ) -> None:
        super().__init__()
        self.coil = CoilDenoiser(denoiser)
        self.adjacent, self.joint, self.refines = adjacent, joint, refines

    def forward(self, m: Measurement) -> Tensor:
        """Sensitivity maps (B, S, C, H, W) complex, of nothing but the ACS region.

        Raises:
            SettingsError: It refines maps and the measurement has none.
        """
        seen_BSCHW = given_maps(m) if self.refines else _low_resolution(m)
        return _unit(self._of_coils(seen_BSCHW), self.joint)

    def _of_coils(self, seen_BSCHW: Tensor) -> Tensor:
        batch, slices, coils, *grid = seen_BSCHW.shape
        if not self.adjacent:
            return self.coil(seen_BSCHW.reshape(-1, 1, *grid)).reshape(seen_BSCHW.shape)
        images_NSHW = seen_BSCHW.transpose(1, 2).reshape(-1, slices, *grid)
        maps_BCSHW = self.coil(images_NSHW).reshape(batch, coils, slices, *grid)
        return maps_BCSHW.transpose(1, 2)


def sensitivity(
    maps: Maps,
    denoiser: Callable[[], NormalisedDenoiser],
    adjacent: bool = False,
    joint: bool = False,
) -> torch.nn.Module:
    """What gives a network its maps.

    Args:
        maps: As `MappedSettings` has it.
        denoiser: Makes the sensitivity network's, if there is one.
        adjacent: As of `SensitivityNetwork`.
        joint: As of `SensitivityNetwork`.
    """
    if maps == "espirit":
        return GivenMaps(joint)
    return SensitivityNetwork(denoiser(), adjacent, joint, refines=maps == "both")


def given_maps(m: Measurement) -> Tensor:
    """The measurement's own maps, (B, S, C, H, W) complex.

    Raises:
        SettingsError: It has none.
    """
    if m.sens_BSCHW is None:
        expected, do = "ESPIRiT maps in the measurement", "set network.maps=learned"
        raise SettingsError("network.maps", "espirit, but no maps", expected, do)
    return m.sens_BSCHW


def _low_resolution(m: Measurement) -> Tensor:
    """Coil images of the ACS lines."""
    zero = torch.zeros((), dtype=m.kspace_BSCHW.dtype, device=m.kspace_BSCHW.device)
    return ifft(torch.where(m.acs_B11HW, m.kspace_BSCHW, zero), m.axes)


def _unit(maps_BSCHW: Tensor, joint: bool) -> Tensor:
    if joint:
        return unit_maps(maps_BSCHW.flatten(1, 2), coil_axis=1).reshape(maps_BSCHW.shape)
    return unit_maps(maps_BSCHW, coil_axis=2)
