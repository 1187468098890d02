"""E2E-VarNet whose U-Nets have a fully connected middle (Team HsThMRI, 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.unet_fc import UNetFC
from dealias.models.network import MappedSettings
from dealias.models.sensitivity import sensitivity
from dealias.models.varnet import VariationalNetwork

Side = Annotated[int, Field(ge=2, le=256)]


class VarNetFCSettings(MappedSettings):
    """Settings of E2E-VarNet with fully connected middles; the defaults are as published.

    Attributes:
        name: "varnet-fc".
        cascades: Unrolled iterations.
        channels: Of each denoiser's first level.
        pools: Poolings of each denoiser.
        sens_channels: Of the sensitivity network's first level.
        sens_pools: Its poolings.
        grid: H and W of the U-Nets' middles at the published size: images padded to 768x400. At
            other sizes the middle is interpolated.
        dropout: Probability of dropping a value of the denoisers' fully connected layers.
        sens_dropout: Of the sensitivity network's.
    """

    name: Literal["varnet-fc"] = "varnet-fc"
    cascades: int = Field(default=6, ge=1, le=100)
    channels: int = Field(default=18, ge=1, le=1024)
    pools: int = Field(default=4, ge=1, le=4)
    sens_channels: int = Field(default=8, ge=1, le=1024)
    sens_pools: int = Field(default=4, ge=1, le=4)
    grid: tuple[Side, Side] = (48, 25)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    sens_dropout: float = Field(default=0.5, ge=0, lt=1)


class VarNetFC(VariationalNetwork):
    """E2E-VarNet: all denoisers, and that of the maps, are U-Nets with fully connected middles.

    Published with fully connected layers that were made anew, at random, each time they ran; here
    they are made once, and trained.
    """

    def __init__(self, settings: VarNetFCSettings) -> None:
        def denoiser(channels: int, pools: int, dropout: float) -> NormalisedDenoiser:
            return NormalisedDenoiser(UNetFC(2, 2, channels, pools, settings.grid, dropout))

        super().__init__(
            settings.needs(),
            sensitivity(
                settings.maps,
                lambda: denoiser(
                    settings.sens_channels, settings.sens_pools, settings.sens_dropout
                ),
            ),
            (
                denoiser(settings.channels, settings.pools, settings.dropout)
                for _ in range(settings.cascades)
            ),
        )
