"""FI-VarNet (Giannakopoulos et al. 2024, doi:10.1038/s41598-024-59705-0).

Cascades whose state is a stack of feature images that an encoder makes of the coil-combined image,
and cascades of E2E-VarNet, in any order. A feature cascade decodes, looks at the data's gradient,
and encodes that: f <- f - step Enc(A^H A Dec(f) - x0) - U(f).
"""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Literal, NamedTuple, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from dealias.models.layers.alias_attention import AliasAttention
from dealias.models.layers.border import Border
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.feature_unet import FeatureConvolutions, FeatureRefiner, FeatureUNet
from dealias.models.layers.lska import GateKind, Kernel, LargeKernelBlock
from dealias.models.layers.norm import instance_norm
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.psf_attention import PSFAttention, psf_anchors
from dealias.models.layers.unet import ConvBlock, UNet
from dealias.models.network import Block, Cascade, MappedSettings, Network
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import START, State, estimate, image
from dealias.models.varnet import VarNetCascade
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement

EVERY = 3
"""Of feature cascades, every third, from the first on, may end in convolutions."""
Count = Annotated[int, Field(ge=1, le=1024)]
Cascades = Annotated[int, Field(ge=1, le=100)]


class FeatureStage(BaseModel):
    """Cascades in feature space.

    Attributes:
        space: "feature".
        cascades: How many.
        attention: "alias", among the positions that alias onto one another, before the U-Net; or
            "psf", to the peaks of the point-spread function, before the whole cascade; or none.
        large_kernels: Whether the U-Nets' deep levels have large separable kernel attention.
        convolutions: Whether every third of all feature cascades, counted from the first, ends in
            convolutions, if it is one of these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: Literal["feature"] = "feature"
    cascades: Cascades = 12
    attention: Literal["alias", "psf"] | None = None
    large_kernels: bool = False
    convolutions: bool = True


class ImageStage(BaseModel):
    """E2E-VarNet's cascades.

    Attributes:
        space: "image".
        cascades: How many.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: Literal["image"] = "image"
    cascades: Cascades = 12


Stage = Annotated[FeatureStage | ImageStage, Field(discriminator="space")]


class FIVarNetSettings(MappedSettings):
    """Settings of FI-VarNet; the defaults are the published training script's.

    Attributes:
        name: "fivarnet".
        stages: Run one after the other. Feature stages that follow one another share one stack of
            features; an image stage between two of them makes the second encode anew.
        features: In the stack.
        channels: Of the first level of each feature cascade's U-Net.
        image_channels: Of the first level of each image cascade's U-Net.
        pools: Poolings of both kinds of U-Net.
        sens_channels: Of the sensitivity network's first level.
        sens_pools: Its poolings.
        shared: Whether all cascades have one encoder and decoder; or each its own, beside those of
            the beginning and the end.
        kernel: Size of the large kernels.
        gate: What bounds their attention.
        anchors: Peaks of the point-spread function that are attended to.
        centre: Whether its highest peak, the position itself, is one of them.
        radius: How far, in pixels, an anchor may be moved.
        adaptive: Whether anchors are moved at each position as its features ask; else alike
            everywhere, as GeekSeek did.
        dropout: Probability of dropping a channel in the feature cascades' U-Nets.
        block_crop: Rows and columns around the centre that the feature cascades' U-Nets see; beyond
            them they change nothing. None: all. GeekSeek's; `readout_crop` spares as much and
            leaves nothing out that is scored.
    """

    name: Literal["fivarnet"] = "fivarnet"
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (
        FeatureStage(attention="alias"),
        ImageStage(),
    )
    features: Count = 32
    channels: Count = 32
    image_channels: Count = 32
    pools: Annotated[int, Field(ge=1, le=4)] = 4
    sens_channels: Count = 8
    sens_pools: Annotated[int, Field(ge=1, le=4)] = 4
    shared: bool = True
    kernel: Kernel = 7
    gate: GateKind = "tanh"
    anchors: Annotated[int, Field(ge=1, le=64)] = 8
    centre: bool = True
    radius: Annotated[float, Field(ge=0, le=64)] = 4.0
    adaptive: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    block_crop: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None

    def unet(self, large_kernels: bool) -> FeatureUNet:
        """Of one feature cascade."""

        def large(in_channels: int, out_channels: int, dropout: float) -> Block:
            return LargeKernelBlock(in_channels, out_channels, dropout, self.kernel, self.gate)

        deep = large if large_kernels else ConvBlock
        return FeatureUNet(self.features, self.channels, self.pools, self.dropout, deep)


class Moments(NamedTuple):
    """Mean and standard deviation of an image's real and imaginary parts, (B, 2, 1, 1) each."""

    mean: Tensor
    std: Tensor


class Codec(nn.Module):
    """Complex images to feature images and back, each one convolution.

    Images are normalised by moments that are handed in, so that features do not know the data's
    scale; an image without variance is encoded as it is and decoded to its mean.

    Args:
        features: How many feature images.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.encoder = Border(Conv2d(2, features, 5, padding=2), small=True)
        self.decoder = Border(Conv2d(features, 2, 5, padding=2), small=True)

    def encode(self, x_B1HW: Tensor, moments: Moments) -> Tensor:
        """(B, 1, H, W) complex to (B, features, H, W) real."""
        safe = torch.where(moments.std == 0, torch.ones_like(moments.std), moments.std)
        scaled = (_channels(x_B1HW) - moments.mean) / safe
        # all that features go through is faster where channels come last
        return self.encoder(scaled.contiguous(memory_format=torch.channels_last))

    def decode(self, features: Tensor, moments: Moments) -> Tensor:
        """(B, features, H, W) real to (B, 1, H, W) complex."""
        real, imag = (self.decoder(features) * moments.std + moments.mean).split(1, dim=1)
        return torch.complex(real.contiguous(), imag.contiguous())


class Folding(NamedTuple):
    """How a batch's masks fold its images.

    Attributes:
        accelerations: Of each item.
        anchors_BK2: Highest peaks of each item's point-spread function, or None.
        both: Whether it folds along both axes.
    """

    accelerations: tuple[int, ...]
    anchors_BK2: Tensor | None
    both: bool


class FeatureCascade(Cascade):
    """One step in feature space."""

    def __init__(self, settings: FIVarNetSettings, stage: FeatureStage, convolutions: bool) -> None:
        super().__init__()
        features = settings.features
        self.anchored = (
            Border(PSFAttention(features, settings.anchors, settings.radius, settings.adaptive))
            if stage.attention == "psf"
            else None
        )
        attention = AliasAttention(features) if stage.attention == "alias" else None
        unet = settings.unet(stage.large_kernels)
        self.refiner = Border(FeatureRefiner(attention, unet, settings.block_crop))
        self.convolutions = (
            Border(FeatureConvolutions(features), small=True) if convolutions else None
        )
        self.step = nn.Parameter(torch.ones(1))

    def forward(
        self, A: Sense, x0_B1HW: Tensor, codec: Codec, moments: Moments, folding: Folding,
        features: Tensor,
    ) -> Tensor:  # fmt: skip
        """Features before to features after, (B, features, H, W) real."""
        if self.anchored is not None:
            features = self.anchored(features, folding.anchors_BK2, folding.both)
        features = instance_norm(features)
        gradient_B1HW = A.normal(codec.decode(features, moments)) - x0_B1HW
        consistency = self.step * codec.encode(gradient_B1HW, moments)
        features = features - consistency - self.refiner(features, folding.accelerations)
        if self.convolutions is not None:
            features = instance_norm(features)
            features = features + self.convolutions(features)
        return features


class FIVarNet(Network):
    """Learned maps, stages of cascades in feature and in image space, root-sum-of-squares."""

    def __init__(self, settings: FIVarNetSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        self.settings = settings
        self.sensitivity = sensitivity(
            settings.maps,
            lambda: NormalisedDenoiser(UNet(2, 2, settings.sens_channels, settings.sens_pools)),
        )
        self.feature_cascades = nn.ModuleList(_feature_cascades(settings))
        # the first is of the beginning and the end, and of all cascades if there is no other
        own = 0 if settings.shared else len(self.feature_cascades)
        codecs = 1 + own if len(self.feature_cascades) else 0
        self.codecs = nn.ModuleList(Codec(settings.features) for _ in range(codecs))
        count = sum(one.cascades for one in settings.stages if one.space == "image")
        self.image_cascades = nn.ModuleList(
            VarNetCascade(NormalisedDenoiser(UNet(2, 2, settings.image_channels, settings.pools)))
            for _ in range(count)
        )

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        folding = self._folding(measurement)
        in_features = enumerate(self.feature_cascades)
        in_images = iter(self.image_cascades)
        state = START
        for space, stages in groupby(self.settings.stages, lambda one: one.space):
            count = sum(one.cascades for one in stages)
            if space == "image":
                for _ in range(count):
                    state = next(in_images)(A, x0_BSHW, state)
            else:
                cascades = [next(in_features) for _ in range(count)]
                state = self._in_features(cascades, A, x0_BSHW, state, folding)
        return estimate(state, A, measurement, sens_BSCHW)

    def _in_features(
        self, cascades: list[tuple[int, nn.Module]], A: Sense, x0_B1HW: Tensor, state: State,
        folding: Folding,
    ) -> State:  # fmt: skip
        """Encode the image of k-space, run cascades, and let the decoded image be k-space."""
        x_B1HW = image(state, A, x0_B1HW)
        moments = _moments(x_B1HW)
        outer, *own = cast("list[Codec]", list(self.codecs))
        features = outer.encode(x_B1HW, moments)
        for number, cascade in cascades:
            codec = own[number] if own else outer
            features = cascade(A, x0_B1HW, codec, moments, folding, features)
        x_B1HW = outer.decode(instance_norm(features), moments)
        return State(torch.zeros_like(moments.std[0, 0, 0]), x_B1HW, None)

    def _folding(self, m: Measurement) -> Folding:
        anchors_BK2 = None
        if any(one.space == "feature" and one.attention == "psf" for one in self.settings.stages):
            lines = m.mask_B11HW & ~m.acs_B11HW
            anchors_BK2 = psf_anchors(lines, self.settings.anchors, self.settings.centre)
        return Folding(m.accelerations, anchors_BK2, -2 in m.axes)


def _feature_cascades(settings: FIVarNetSettings) -> list[FeatureCascade]:
    cascades: list[FeatureCascade] = []
    for stage in settings.stages:
        if isinstance(stage, FeatureStage):
            for _ in range(stage.cascades):
                convolutions = stage.convolutions and len(cascades) % EVERY == 0
                cascades.append(FeatureCascade(settings, stage, convolutions))
    return cascades


def _channels(x_B1HW: Tensor) -> Tensor:
    return torch.cat([x_B1HW.real, x_B1HW.imag], dim=1)


def _moments(x_B1HW: Tensor) -> Moments:
    parts = _channels(x_B1HW).flatten(2)
    mean = parts.mean(dim=2)[..., None, None]
    std = parts.std(dim=2, correction=0)[..., None, None]
    return Moments(mean, std)
