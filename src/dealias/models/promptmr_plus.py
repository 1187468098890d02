"""PromptMR+ (Xin et al. 2024, "Rethinking Deep Unrolled Model for Accelerated MRI Reconstruction").

The image-state form: x <- x - step (A^H A x - x0) - D(x, ...), where the denoiser D sees adjacent
slices as channels, buffers beside the image, and features of earlier cascades.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.prompt_unet import History, PromptUNet, Sizes
from dealias.models.network import Cascade, Network, NetworkSettings
from dealias.models.sensitivity import SensitivityNetwork
from dealias.physics.coils import rss
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement, Needs

PADDED = 8
"""Three poolings halve what is a multiple of this."""
Count = Annotated[int, Field(ge=1, le=1024)]
Blocks = Annotated[int, Field(ge=0, le=100)]
Widths = tuple[Count, Count, Count, Count]
Triple = tuple[Count, Count, Count]


class PromptMRPlusSettings(NetworkSettings):
    """Settings of PromptMR+; the defaults are the published configuration.

    Tuples go from full resolution to the lowest.

    Attributes:
        name: "promptmr+".
        cascades: Unrolled iterations.
        slices: Adjacent slices seen together, odd; at the ends of a volume the last is repeated.
        features: Channels of the denoisers at full, half, quarter and eighth resolution.
        prompt_channels: Of each level's prompts.
        sens_features: Channels of the sensitivity network's denoiser.
        sens_prompt_channels: Of its prompts.
        sens_adjacent: Whether the sensitivity network sees adjacent slices together.
        prompts: How many prompts each level mixes.
        prompt_size: Their sides in pixels.
        learn_prompts: Whether they are trained.
        encoder: Blocks of each encoder level.
        decoder: Blocks of each decoder level.
        skip: Blocks of each skip connection.
        bottleneck: Blocks of the bottleneck.
        reduction: Of the channel attention; None for none.
        adaptive_input: Whether denoisers see A^H A x, a latent image, x0 and A^H A x - x0 as well.
        history: Earlier cascades whose features each decoder level sees.
    """

    name: Literal["promptmr+"] = "promptmr+"
    cascades: Annotated[int, Field(ge=1, le=100)] = 12
    slices: Literal[1, 3, 5, 7] = 5
    features: Widths = (48, 72, 96, 120)
    prompt_channels: Triple = (24, 48, 72)
    sens_features: Widths = (24, 36, 48, 60)
    sens_prompt_channels: Triple = (12, 24, 36)
    sens_adjacent: bool = True
    prompts: Triple = (5, 5, 5)
    prompt_size: Triple = (64, 32, 16)
    learn_prompts: bool = False
    encoder: Triple = (2, 3, 3)
    decoder: tuple[Blocks, Blocks, Blocks] = (2, 2, 3)
    skip: tuple[Blocks, Blocks, Blocks] = (1, 1, 1)
    bottleneck: Blocks = 3
    reduction: Count | None = 4
    adaptive_input: bool = True
    history: Annotated[int, Field(ge=0, le=100)] = 11

    def sizes(self) -> Sizes:
        """Of the cascades' denoisers."""
        return self._sizes(self.features, self.prompt_channels, self.history)

    def sens_sizes(self) -> Sizes:
        """Of the sensitivity network's denoiser."""
        return self._sizes(self.sens_features, self.sens_prompt_channels, 0)

    def _sizes(self, features: Widths, prompt_channels: Triple, history: int) -> Sizes:
        return Sizes(
            features, prompt_channels, self.prompts, self.prompt_size, self.encoder, self.decoder,
            self.skip, self.bottleneck, self.reduction, self.learn_prompts, history,
        )  # fmt: skip


class PromptCascade(Cascade):
    """One step: the data's gradient, and a denoiser that knows what came before."""

    def __init__(self, settings: PromptMRPlusSettings, activation: nn.PReLU) -> None:
        super().__init__()
        self.slices, self.adaptive = settings.slices, settings.adaptive_input
        self.remembers = settings.history > 0
        channels = 2 * settings.slices * (5 if settings.adaptive_input else 1)
        network = PromptUNet(channels, settings.sizes(), activation)
        self.denoiser = NormalisedDenoiser(network, groups=1, multiple=PADDED)
        self.step = nn.Parameter(torch.ones(1))

    def forward(
        self, A: Sense, x0_BSHW: Tensor, x_BSHW: Tensor, latent_BSHW: Tensor, history: History
    ) -> tuple[Tensor, Tensor, History]:
        """Image, latent image and history before to those after."""
        normal_BSHW = A.normal(x_BSHW)
        gradient_BSHW = normal_BSHW - x0_BSHW
        inputs = x_BSHW
        if self.adaptive:
            inputs = torch.cat([x_BSHW, normal_BSHW, latent_BSHW, x0_BSHW, gradient_BSHW], dim=1)
        change = self.denoiser(inputs, history)
        if self.remembers:
            change, history = change
        if self.adaptive:
            change, _, latent_BSHW, _, _ = torch.split(change, self.slices, dim=1)
        return x_BSHW - self.step * gradient_BSHW - change, latent_BSHW, history


class PromptMRPlus(Network):
    """PromptMR+: maps from adjacent slices, cascades with memory, root-sum-of-squares."""

    def __init__(self, settings: PromptMRPlusSettings) -> None:
        super().__init__()
        self.needs = Needs(slices=settings.slices, readout_crop=settings.readout_crop)
        self.activation = nn.PReLU()
        channels = 2 * (settings.slices if settings.sens_adjacent else 1)
        maps = PromptUNet(channels, settings.sens_sizes(), self.activation)
        self.sensitivity = SensitivityNetwork(
            NormalisedDenoiser(maps, groups=1, multiple=PADDED), settings.sens_adjacent
        )
        self.cascades = nn.ModuleList(
            PromptCascade(settings, self.activation) for _ in range(settings.cascades)
        )

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct the centre slices of one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        x_BSHW, latent_BSHW, history = x0_BSHW, x0_BSHW, ()
        for cascade in self.cascades:
            x_BSHW, latent_BSHW, history = cascade(A, x0_BSHW, x_BSHW, latent_BSHW, history)
        centre = x_BSHW.shape[1] // 2
        coil_images_BCHW = sens_BSCHW[:, centre] * x_BSHW[:, centre, None]
        return Estimate(rss(coil_images_BCHW, 1), x_BSHW, sens_BSCHW)
