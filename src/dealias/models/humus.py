"""HUMUS-Net (Fabian et al. 2022, arXiv:2203.08213): E2E-VarNet with a hybrid of Swin and U-Net."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dealias.models.layers.humus_block import HumusBlock, Sizes
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.reflect import ReflectedDenoiser
from dealias.models.layers.unet import UNet
from dealias.models.network import MappedSettings
from dealias.models.sensitivity import sensitivity
from dealias.models.varnet import VariationalNetwork
from dealias.physics.coils import divide, rss
from dealias.scan.measurement import Estimate, Measurement

Count = Annotated[int, Field(ge=1, le=1024)]
Levels = Annotated[tuple[Count, ...], Field(min_length=1, max_length=5)]


class HumusSettings(MappedSettings):
    """Settings of HUMUS-Net; the defaults are the published configuration.

    Tuples go from the shallowest level of the Swin layers, at half the resolution, to the deepest.

    Attributes:
        name: "humus".
        cascades: Unrolled iterations.
        slices: Adjacent slices seen together, odd.
        features: Channels of the first level, even and a multiple of its heads; they double at each
            level.
        window: Side in pixels of the attention's windows. Images are reflected to a multiple of
            2 window 2^levels, which is 128 as published.
        depths: Swin layers of each level, in the encoder and again in the decoder.
        heads: Of each level's attention.
        bottleneck_depth: Swin layers of the bottleneck.
        bottleneck_heads: Of its attention.
        ratio: Width of the perceptrons' hidden layer over their channels.
        dropout: Probability, in training, that the deepest level's last Swin layer leaves out a
            residual for an item (stochastic depth); it grows linearly from 0 at the first layer.
        joint_maps: Whether the coils of all slices together are of unit root-sum-of-squares, as
            published, or each slice's own. Without adjacent slices both are the same.
        sens_channels: Of the sensitivity network's first level.
        sens_pools: Its poolings.
    """

    name: Literal["humus"] = "humus"
    cascades: int = Field(default=8, ge=1, le=100)
    slices: Literal[1, 3, 5, 7] = 3
    features: Count = 66
    window: int = Field(default=8, ge=2, le=64)
    depths: Levels = (2, 2, 2)
    heads: Levels = (3, 6, 12)
    bottleneck_depth: Count = 2
    bottleneck_heads: Count = 24
    ratio: float = Field(default=2.0, ge=0.5, le=16)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    joint_maps: bool = True
    sens_channels: Count = 16
    sens_pools: int = Field(default=4, ge=1, le=4)

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        if len(self.depths) != len(self.heads):
            raise PydanticCustomError("levels", "depths and heads must be as many")
        heads = (*self.heads, self.bottleneck_heads)
        if self.features % 2 or any(self.features * 2**i % n for i, n in enumerate(heads)):
            text = "features must be even, and each level's channels a multiple of its heads"
            raise PydanticCustomError("heads", text)
        return self

    def sizes(self) -> Sizes:
        """Of the denoisers."""
        return Sizes(
            self.features, self.window, self.depths, self.heads, self.bottleneck_depth,
            self.bottleneck_heads, self.ratio, self.dropout,
        )  # fmt: skip


class Humus(VariationalNetwork):
    """HUMUS-Net: all denoisers are HUMUS-Blocks, which see adjacent slices as channels."""

    def __init__(self, settings: HumusSettings) -> None:
        channels, sizes = 2 * settings.slices, settings.sizes()
        super().__init__(
            settings.needs(settings.slices),
            sensitivity(
                settings.maps,
                lambda: NormalisedDenoiser(UNet(2, 2, settings.sens_channels, settings.sens_pools)),
                joint=settings.joint_maps,
            ),
            (
                ReflectedDenoiser(HumusBlock(channels, sizes), channels, sizes.multiple)
                for _ in range(settings.cascades)
            ),
        )

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct the centre slices of one batch."""
        estimate = super().forward(measurement)
        combined_BSHW, sens_BSCHW = estimate.combined_BSHW, estimate.sens_BSCHW
        assert combined_BSHW is not None
        assert sens_BSCHW is not None
        # joint maps are small; whoever judges the combined image wants those of unit norm
        norm_BSHW = rss(sens_BSCHW, coil_axis=2)
        return estimate._replace(
            combined_BSHW=divide(combined_BSHW, norm_BSHW),
            sens_BSCHW=divide(sens_BSCHW, norm_BSHW.unsqueeze(2)),
        )
