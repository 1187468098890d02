"""DIRCN (Ottesen et al. 2022, arXiv:2207.02073): cascades that remember what came before.

A cascade's denoiser sees its image and those of all earlier cascades (dense connections), its
decoder what the decoder of the one before gave (interconnections), and its image takes the place of
k-space but for the data's share of the samples.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dealias.models.layers.gated_unet import GatedUNet
from dealias.models.layers.linked import Features
from dealias.models.layers.linked_unet import LinkedUNet
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.pooled_unet import PooledUNet
from dealias.models.layers.resxunet import ResXUNet, Sizes
from dealias.models.network import Cascade, MappedSettings, Network
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import (
    START,
    State,
    estimate,
    image,
    refine,
    soft_consistency,
    weighted_consistency,
)
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement

WEIGHT = 0.01
"""What data consistency begins with."""
Count = Annotated[int, Field(ge=1, le=1024)]
Denoiser = Literal["resxunet", "unet", "unet-fc", "attention-unet-fc"]
Inputs = tuple[Tensor, ...]
"""What the cascades saw, newest first, each (B, 1, H, W) complex."""


class DIRCNSettings(MappedSettings):
    """Settings of DIRCN; the defaults are those of the published code.

    The paper's own 47 million parameters are cascades=12, channels=28.

    Attributes:
        name: "dircn".
        cascades: Unrolled iterations.
        denoiser: Of cascades and maps: "resxunet"; E2E-VarNet's "unet", from which the paper
            starts; or a U-Net whose lowest level is one linear layer, plain ("unet-fc") or with
            attention gates ("attention-unet-fc").
        channels: Of each denoiser's first level.
        groups: Of the first level's grouped convolutions, a divisor of channels; ResXUNet's.
        sens_channels: Of the sensitivity network's first level.
        sens_groups: Of its grouped convolutions.
        reduction: Of squeeze-and-excitation; ResXUNet's.
        dropout: Probability of dropping what the linear layer gives; of the "fc" U-Nets.
        dense: Whether denoisers see what all earlier cascades saw.
        interconnections: Whether decoder levels see what those of the cascade before gave.
        variational: Whether the denoiser's image is taken from k-space as in E2E-VarNet, and does
            not replace it.
    """

    name: Literal["dircn"] = "dircn"
    cascades: Annotated[int, Field(ge=1, le=100)] = 30
    denoiser: Denoiser = "resxunet"
    channels: Count = 20
    groups: Count = 4
    sens_channels: Count = 12
    sens_groups: Count = 1
    reduction: Count = 8
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    dense: bool = True
    interconnections: bool = True
    variational: bool = False

    @model_validator(mode="after")
    def _groups_divide(self) -> DIRCNSettings:
        if self.channels % self.groups or self.sens_channels % self.sens_groups:
            raise ValueError("groups must divide channels, and sens_groups sens_channels")
        return self

    def cascade_denoiser(self, number: int) -> NormalisedDenoiser:
        """That of a cascade, counted from 0."""
        seen = number + 1 if self.dense else 1
        linked = self.interconnections and number > 0
        network = self._network(seen, self.channels, self.groups, linked, self.interconnections)
        return NormalisedDenoiser(network, newest=True)

    def sens_denoiser(self) -> NormalisedDenoiser:
        """That of the sensitivity network."""
        return NormalisedDenoiser(self._network(1, self.sens_channels, self.sens_groups))

    def _network(
        self, seen: int, channels: int, groups: int, linked: bool = False, shown: bool = False
    ) -> nn.Module:
        """A denoiser that sees so many images and gives one."""
        if self.denoiser == "resxunet":
            sizes = Sizes(channels, groups, self.reduction)
            return ResXUNet(2 * seen, 2, sizes, linked, shown)
        if self.denoiser == "unet":
            return LinkedUNet(2 * seen, 2, channels, 4, linked, shown)
        kind = PooledUNet if self.denoiser == "unet-fc" else GatedUNet
        return kind(2 * seen, 2, channels, self.dropout, linked, shown)


class DIRCNCascade(Cascade):
    """One step: a denoiser that knows what came before, and data consistency."""

    def __init__(self, settings: DIRCNSettings, number: int) -> None:
        super().__init__()
        self.denoiser = settings.cascade_denoiser(number)
        self.weight = nn.Parameter(torch.full((1,), WEIGHT))
        self.dense, self.variational = settings.dense, settings.variational
        self.interconnected = settings.interconnections

    def forward(
        self, A: Sense, x0_BSHW: Tensor, state: State, inputs: Inputs, features: Features
    ) -> tuple[State, Inputs, Features]:
        """State, inputs and features before to those after."""
        x_BSHW = image(state, A, x0_BSHW)
        inputs = (x_BSHW, *inputs) if self.dense else (x_BSHW,)
        denoised = self.denoiser(torch.cat(inputs, dim=1), features)
        if self.interconnected:
            denoised, features = denoised
        if self.variational:
            return refine(soft_consistency(state, self.weight), denoised), inputs, features
        return weighted_consistency(denoised, self.weight), inputs, features


class DIRCN(Network):
    """DIRCN: learned maps, cascades with memory, root-sum-of-squares."""

    def __init__(self, settings: DIRCNSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        self.sensitivity = sensitivity(settings.maps, settings.sens_denoiser)
        self.cascades = nn.ModuleList(
            DIRCNCascade(settings, number) for number in range(settings.cascades)
        )

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        state, inputs, features = START, (), ()
        for cascade in self.cascades:
            state, inputs, features = cascade(A, x0_BSHW, state, inputs, features)
        return estimate(state, A, measurement, sens_BSCHW)
