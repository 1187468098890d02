"""MambaRecon (Korkmaz & Patel 2024, arXiv:2409.12401): Mamba blocks, hard data consistency."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.border import Border
from dealias.models.layers.mamba_stage import MambaHead, MambaSizes, MambaStage, PatchEmbedding
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.unet import UNet
from dealias.models.network import Cascade, MappedSettings, Maps, Network
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import State, image
from dealias.physics.coils import divide
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement

Count = Annotated[int, Field(ge=1, le=1024)]
Stages = Annotated[int, Field(ge=1, le=100)]


class MambaSettings(MappedSettings):
    """What networks around MambaRecon's blocks have in common.

    Attributes:
        blocks: Of each iteration.
        features: Channels of a patch.
        patch: Side of a patch in pixels.
        states: Of each channel in a selective scan.
        expand: Channels inside a block over those outside.
        dropout: Probability, in training, that an item goes without the last block's residual
            (stochastic depth); it grows linearly from 0 at the first block.
        sens_channels: Of the sensitivity network's first level, where maps are learned.
        sens_pools: Its poolings.
    """

    blocks: Stages = 2
    features: Count = 128
    patch: Annotated[int, Field(ge=1, le=16)] = 2
    states: Annotated[int, Field(ge=1, le=256)] = 16
    expand: Annotated[int, Field(ge=1, le=8)] = 2
    dropout: float = Field(default=0.0, ge=0, lt=1)
    sens_channels: Count = 8
    sens_pools: int = Field(default=4, ge=1, le=4)

    def sens_denoiser(self) -> NormalisedDenoiser:
        """Of the sensitivity network."""
        return NormalisedDenoiser(UNet(2, 2, self.sens_channels, self.sens_pools))

    def _sizes(self, iterations: int) -> MambaSizes:
        return MambaSizes(
            iterations, self.blocks, self.features, self.patch, self.states, self.expand,
            self.dropout,
        )  # fmt: skip


class MambaReconSettings(MambaSettings):
    """Settings of MambaRecon; the defaults are the published configuration.

    Attributes:
        name: "mambarecon".
        cascades: Unrolled iterations; after the last comes one more data consistency.
        maps: As of `MappedSettings`; "espirit" as published.
    """

    name: Literal["mambarecon"] = "mambarecon"
    cascades: Stages = 6
    maps: Maps = "espirit"

    def sizes(self) -> MambaSizes:
        """Of the iterations."""
        return self._sizes(self.cascades)


class MambaCascade(Cascade):
    """Blocks, an image with the measured samples in place of its own, and back to features."""

    def __init__(self, sizes: MambaSizes, stage: int) -> None:
        super().__init__()
        self.stage = Border(MambaStage(sizes, stage))
        self.embed = Border(PatchEmbedding(sizes))

    def forward(self, A: Sense, x0_BSHW: Tensor, features: Tensor) -> Tensor:
        """Features (B, H/p, W/p, C) before to those after."""
        image_B2HW, features = self.stage(features)
        return self.embed(_channels(consistent(A, x0_BSHW, image_B2HW)), features)


class UnrolledMamba(nn.Module):
    """All cascades and a last data consistency, of an image of any scale.

    Published without normalisation, for images of maximum 1: here they are brought there, by the
    zero-filled image's largest magnitude, and back.

    Args:
        sizes: Of the whole.
    """

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.embed = Border(PatchEmbedding(sizes))
        self.cascades = nn.ModuleList(MambaCascade(sizes, stage) for stage in range(sizes.stages))
        self.head = Border(MambaHead(sizes))

    def forward(self, A: Sense, x0_BSHW: Tensor, x_BSHW: Tensor) -> Tensor:
        """The reconstruction S^H F^H k, (B, 1, H, W) complex, where k is y on the mask.

        Args:
            A: The encoding operator.
            x0_BSHW: A^H y of one slice.
            x_BSHW: What it begins with.
        """
        scale = x0_BSHW.abs().amax((1, 2, 3), keepdim=True)
        x0_BSHW, x_BSHW = divide(x0_BSHW, scale), divide(x_BSHW, scale)
        features = self.embed(_channels(x_BSHW))
        for cascade in self.cascades:
            features = cascade(A, x0_BSHW, features)
        return consistent(A, x0_BSHW, self.head(features)) * scale


def consistent(A: Sense, x0_BSHW: Tensor, image_B2HW: Tensor) -> Tensor:
    """S^H F^H k, (B, 1, H, W) complex, where k is y on the mask and F S of the image off it.

    Published, what takes the place of the image's samples is M F S x0, which is y for one coil
    alone: for more, S S^H is not 1.

    Args:
        A: The encoding operator.
        x0_BSHW: A^H y.
        image_B2HW: Real and imaginary part; rows and columns that only filled up patches may go.
    """
    height, width = x0_BSHW.shape[-2:]
    real, imag = image_B2HW[..., :height, :width].chunk(2, dim=1)
    u_BSHW = torch.complex(real.contiguous(), imag.contiguous())
    return image(State(None, u_BSHW, u_BSHW), A, x0_BSHW)


def _channels(x_BSHW: Tensor) -> Tensor:
    return torch.cat([x_BSHW.real, x_BSHW.imag], dim=1)


class MambaRecon(Network):
    """MambaRecon: from the zero-filled image, the magnitude of the coil-combined one."""

    def __init__(self, settings: MambaReconSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        self.sensitivity = sensitivity(settings.maps, settings.sens_denoiser)
        self.unrolled = UnrolledMamba(settings.sizes())

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch.

        Raises:
            SettingsError: The measurement has no sensitivity maps.
        """
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        x_BSHW = self.unrolled(A, x0_BSHW, x0_BSHW)
        return Estimate(x_BSHW[:, 0].abs(), x_BSHW, sens_BSCHW)
