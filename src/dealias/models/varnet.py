"""E2E-VarNet (Sriram et al. 2020, arXiv:2004.06688), with an image-domain state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.unet import UNet
from dealias.models.network import Cascade, MappedSettings, Network
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import START, State, estimate, image, refine, soft_consistency
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement, Needs


class VarNetSettings(MappedSettings):
    """Settings of E2E-VarNet; the defaults are the published configuration.

    Attributes:
        name: "varnet".
        cascades: Unrolled iterations.
        channels: Of each denoiser's first level.
        pools: Poolings of each denoiser.
        sens_channels: Of the sensitivity network's first level.
        sens_pools: Its poolings.
    """

    name: Literal["varnet"] = "varnet"
    cascades: int = Field(default=12, ge=1, le=100)
    channels: int = Field(default=18, ge=1, le=1024)
    pools: int = Field(default=4, ge=1, le=4)
    sens_channels: int = Field(default=8, ge=1, le=1024)
    sens_pools: int = Field(default=4, ge=1, le=4)


class VarNetCascade(Cascade):
    """One step: a denoiser looks at the image, soft data consistency looks at the data."""

    def __init__(self, denoiser: NormalisedDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.step = nn.Parameter(torch.ones(1))

    def forward(self, A: Sense, x0_BSHW: Tensor, state: State) -> State:
        """State before to state after."""
        change_BSHW = self.denoiser(image(state, A, x0_BSHW))
        return refine(soft_consistency(state, self.step), change_BSHW)


class VariationalNetwork(Network):
    """Learned maps, cascades of one kind around any denoiser, root-sum-of-squares.

    Args:
        needs: What it asks of the data.
        maps: Makes the sensitivity maps.
        denoisers: One for each cascade.
    """

    def __init__(
        self,
        needs: Needs,
        maps: nn.Module,
        denoisers: Iterable[NormalisedDenoiser],
    ) -> None:
        super().__init__()
        self.needs = needs
        self.sensitivity = maps
        self.cascades = nn.ModuleList(VarNetCascade(denoiser) for denoiser in denoisers)

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        state = START
        for cascade in self.cascades:
            state = cascade(A, x0_BSHW, state)
        return estimate(state, A, measurement, sens_BSCHW)


class VarNet(VariationalNetwork):
    """E2E-VarNet: all denoisers are U-Nets."""

    def __init__(self, settings: VarNetSettings) -> None:
        super().__init__(
            settings.needs(),
            sensitivity(
                settings.maps,
                lambda: NormalisedDenoiser(UNet(2, 2, settings.sens_channels, settings.sens_pools)),
            ),
            (
                NormalisedDenoiser(UNet(2, 2, settings.channels, settings.pools))
                for _ in range(settings.cascades)
            ),
        )
