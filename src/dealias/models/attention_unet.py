"""The Attention U-Net of the zero-filled and the GRAPPA image (Team HsThMRI, 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.attention_unet import AttentionUNet
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.network import Network, NetworkSettings
from dealias.physics.readout import centre_crop_or_pad
from dealias.scan.measurement import Estimate, Measurement


class AttentionUnetSettings(NetworkSettings):
    """Settings of the Attention U-Net; the defaults are the published configuration.

    Attributes:
        name: "attention-unet".
        channels: Of the first level, even.
        pools: Number of poolings.
        hidden: Width of the narrower of the fully connected layers.
        kernel: Side of the pattern that each of their 2x2 values is spread by.
        stride: From one pattern to the next; kernel + stride is the published size of the middle:
            24, of images of 384x384. At other sizes it is interpolated.
        dropout: Probability of dropping a value after each fully connected layer.
        stored: Whether the GRAPPA image is the data's own where it was made under the same mask, as
            published; else it is made here, for any mask and from a cache as well.
    """

    name: Literal["attention-unet"] = "attention-unet"
    channels: int = Field(default=64, ge=2, le=1024, multiple_of=2)
    pools: int = Field(default=4, ge=1, le=4)
    hidden: int = Field(default=2048, ge=1, le=16384)
    kernel: int = Field(default=16, ge=1, le=64)
    stride: int = Field(default=8, ge=1, le=64)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    stored: bool = False


class AttentionUnet(Network):
    """Two standardised images of the target's field of view in, the mean of two cleaned ones out.

    The zero-filled image takes the GRAPPA image's place where there can be no GRAPPA.
    """

    def __init__(self, settings: AttentionUnetSettings) -> None:
        super().__init__()
        self.needs = replace(settings.needs(), priors=("grappa",), stored_priors=settings.stored)
        network = AttentionUNet(
            2, 2, settings.channels, settings.pools, settings.hidden, settings.kernel,
            settings.stride, settings.dropout,
        )  # fmt: skip
        self.denoiser = NormalisedDenoiser(network, groups=2, multiple=2**settings.pools)
        # published as a convolution of random weights, both negative once in four times: an image
        # of no magnitude, and of no gradient
        self.combine = nn.Parameter(torch.full((1, 2, 1, 1), 0.5))

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch; there is no complex image, so no residual."""
        zero_filled_BHW = measurement.zero_filled()
        # two real images travel as one complex image, whose parts are standardised each alone
        pair_BHW = torch.complex(zero_filled_BHW, measurement.priors["grappa"])
        # the published network sees the target's field of view alone
        seen_B1HW = centre_crop_or_pad(pair_BHW, measurement.target_hw).unsqueeze(1)
        cleaned_B2HW = torch.view_as_real(self.denoiser(seen_B1HW)[:, 0]).movedim(-1, 1)
        image_BHW = (self.combine * cleaned_B2HW).sum(1)
        return Estimate(centre_crop_or_pad(image_BHW, _grid(zero_filled_BHW)).clamp_min(0))


def _grid(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
