"""dHUMUS as team GeekSeek tried it (2025): HUMUS-Net's idea, at scales chosen for each image.

Theirs sees magnitudes alone, and its selector runs without gradients and so never learns. This one
keeps the phase, weighs the scales softly, and trains the selector; their form is a setting.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from dealias.models.layers.hybrid_scales import HybridScales, Sizes
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.reflect import ReflectedDenoiser
from dealias.models.layers.scale_selector import ScaleSelector
from dealias.models.layers.unet import UNet
from dealias.models.network import Cascade, MappedSettings, Network
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import START, State, image, refine, soft_consistency
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement

Count = Annotated[int, Field(ge=1, le=1024)]
Scale = Literal[1, 2, 4, 8, 16]


class DHumusSettings(MappedSettings):
    """Settings of dHUMUS; sizes are those of the team.

    Attributes:
        name: "dhumus".
        cascades: Unrolled iterations.
        channels: Of the denoisers' full and half resolution, a multiple of `heads`.
        heads: Of the attention at each level.
        window: Side in pixels of its windows. Images are reflected to a multiple of
            2 window max(scales), which is 96 at the team's sizes.
        scales: What the selector weighs: powers of two, 1 for convolutions alone.
        choice: "soft" mixes all scales by their weights; "hard" takes the best alone, with the
            gradient of the soft weights. Both compute all scales.
        phase: Whether denoisers see the real and the imaginary part; if not, the magnitude alone,
            and what they give is real (the team's form).
        factors: Of the interleaved images whose likeness the selector judges.
        hidden: Width of its recurrent layer.
        sens_channels: Of the sensitivity network's first level.
        sens_pools: Its poolings.
    """

    name: Literal["dhumus"] = "dhumus"
    cascades: int = Field(default=5, ge=1, le=100)
    channels: Count = 32
    heads: Count = 8
    window: int = Field(default=6, ge=2, le=64)
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1, 2, 4, 8)
    choice: Literal["soft", "hard"] = "soft"
    phase: bool = True
    factors: Annotated[tuple[Annotated[int, Field(ge=2, le=16)], ...], Field(min_length=1)] = (
        2,
        3,
        4,
    )
    hidden: Count = 128
    sens_channels: Count = 8
    sens_pools: int = Field(default=4, ge=1, le=4)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.channels % self.heads:
            raise PydanticCustomError("heads", "channels must be a multiple of heads")
        return self


class DHumusCascade(Cascade):
    """One step: the selector looks at the image's magnitude, the denoiser at the image."""

    def __init__(self, settings: DHumusSettings, selector: ScaleSelector) -> None:
        super().__init__()
        sizes = Sizes(settings.channels, settings.heads, settings.window)
        self.phase = settings.phase
        network = HybridScales(2 if self.phase else 1, sizes, settings.scales)
        self.denoiser = ReflectedDenoiser(network, 2, sizes.multiple(settings.scales))
        self._selector = (selector,)  # in a tuple, which nn.Module does not register: it is shared

    def forward(self, A: Sense, x0_BSHW: Tensor, state: State, step: Tensor) -> State:
        """State before to state after; step is data consistency's weight, one element."""
        x_BSHW = image(state, A, x0_BSHW)
        magnitude_BSHW = x_BSHW.abs()
        weights = self._selector[0](magnitude_BSHW)
        if not self.phase:
            x_BSHW = torch.complex(magnitude_BSHW, torch.zeros_like(magnitude_BSHW))
        change_BSHW = self.denoiser(x_BSHW, weights)
        return refine(soft_consistency(state, step), change_BSHW)


class DHumus(Network):
    """dHUMUS: learned maps, cascades that share one selector, magnitude of the combined image."""

    def __init__(self, settings: DHumusSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        self.sensitivity = sensitivity(
            settings.maps,
            lambda: NormalisedDenoiser(UNet(2, 2, settings.sens_channels, settings.sens_pools)),
        )
        self.selector = ScaleSelector(
            settings.factors, settings.hidden, len(settings.scales), settings.choice == "hard"
        )
        self.cascades = nn.ModuleList(
            DHumusCascade(settings, self.selector) for _ in range(settings.cascades)
        )
        self.steps = nn.Parameter(torch.ones(settings.cascades))

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        state = START
        for cascade, step in zip(self.cascades, torch.split(self.steps, 1), strict=True):
            state = cascade(A, x0_BSHW, state, step)
        combined_BSHW = image(state, A, x0_BSHW)
        return Estimate(combined_BSHW[:, 0].abs(), combined_BSHW, sens_BSCHW)
