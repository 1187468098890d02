"""PromptMR (Xin et al. 2023, arXiv:2309.13839): E2E-VarNet around U-Nets that mix prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.prompt_unet import PromptUNet, Sizes
from dealias.models.network import MappedSettings
from dealias.models.sensitivity import sensitivity
from dealias.models.varnet import VariationalNetwork

PADDED = 8
"""Three poolings halve what is a multiple of this."""
Count = Annotated[int, Field(ge=1, le=1024)]
Blocks = Annotated[int, Field(ge=0, le=100)]
Widths = tuple[Count, Count, Count, Count]
Triple = tuple[Count, Count, Count]


class PromptSettings(MappedSettings):
    """What PromptMR and PromptMR+ have in common.

    Tuples go from full resolution to the lowest.

    Attributes:
        cascades: Unrolled iterations.
        slices: Adjacent slices seen together, odd; at the ends of a volume the last is repeated.
        features: Channels of the denoisers at full, half, quarter and eighth resolution.
        prompt_channels: Of each level's prompts.
        sens_features: Channels of the sensitivity network's denoiser.
        sens_prompt_channels: Of its prompts.
        prompts: How many prompts each level mixes.
        prompt_size: Their sides in pixels.
        learn_prompts: Whether they are trained.
        encoder: Blocks of each encoder level.
        decoder: Blocks of each decoder level.
        skip: Blocks of each skip connection.
        bottleneck: Blocks of the bottleneck.
        reduction: Of the channel attention; None for none.
    """

    cascades: Annotated[int, Field(ge=1, le=100)] = 12
    slices: Literal[1, 3, 5, 7] = 5
    features: Widths = (48, 72, 96, 120)
    prompt_channels: Triple = (24, 48, 72)
    sens_features: Widths = (24, 36, 48, 60)
    sens_prompt_channels: Triple = (12, 24, 36)
    prompts: Triple = (5, 5, 5)
    prompt_size: Triple = (64, 32, 16)
    learn_prompts: bool = False
    encoder: Triple = (2, 3, 3)
    decoder: tuple[Blocks, Blocks, Blocks] = (2, 2, 3)
    skip: tuple[Blocks, Blocks, Blocks] = (1, 1, 1)
    bottleneck: Blocks = 3
    reduction: Count | None = 4

    def sens_sizes(self) -> Sizes:
        """Of the sensitivity network's denoiser."""
        return self._sizes(self.sens_features, self.sens_prompt_channels, 0)

    def _sizes(self, features: Widths, prompt_channels: Triple, history: int) -> Sizes:
        return Sizes(
            features, prompt_channels, self.prompts, self.prompt_size, self.encoder, self.decoder,
            self.skip, self.bottleneck, self.reduction, self.learn_prompts, history,
        )  # fmt: skip


class PromptMRSettings(PromptSettings):
    """Settings of PromptMR; the defaults are the published configuration.

    Attributes:
        name: "promptmr".
    """

    name: Literal["promptmr"] = "promptmr"

    def sizes(self) -> Sizes:
        """Of the cascades' denoisers."""
        return self._sizes(self.features, self.prompt_channels, 0)


class PromptMR(VariationalNetwork):
    """PromptMR: denoisers see adjacent slices as channels, the maps' network each slice alone."""

    def __init__(self, settings: PromptMRSettings) -> None:
        activation = nn.PReLU()
        channels = 2 * settings.slices
        super().__init__(
            settings.needs(settings.slices),
            sensitivity(
                settings.maps, lambda: prompt_denoiser(2, settings.sens_sizes(), activation)
            ),
            (
                prompt_denoiser(channels, settings.sizes(), activation)
                for _ in range(settings.cascades)
            ),
        )
        self.activation = activation


def prompt_denoiser(channels: int, sizes: Sizes, activation: nn.PReLU) -> NormalisedDenoiser:
    """A U-Net with prompts that sees all its channels on one scale."""
    return NormalisedDenoiser(PromptUNet(channels, sizes, activation), groups=1, multiple=PADDED)
