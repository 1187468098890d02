"""The image U-Net of fastMRI (Zbontar et al. 2018, arXiv:1811.08839)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from dealias.models.layers.unet import UNet
from dealias.models.network import Network, NetworkSettings
from dealias.physics.readout import centre_crop_or_pad
from dealias.scan.measurement import Estimate, Measurement

EPS = 1e-11
"""fastMRI's constant in the standardisation of magnitudes."""


class UnetSettings(NetworkSettings):
    """Settings of the image U-Net; the defaults are the published configuration.

    Attributes:
        name: "unet".
        channels: Of the first level.
        pools: Number of poolings.
        dropout: Probability of dropping a channel.
    """

    name: Literal["unet"] = "unet"
    channels: int = Field(default=32, ge=1, le=1024)
    pools: int = Field(default=4, ge=1, le=4)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class ImageUnet(Network):
    """A U-Net on the standardised zero-filled magnitude image of the target's field of view."""

    def __init__(self, settings: UnetSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        self.unet = UNet(1, 1, settings.channels, settings.pools, settings.dropout)

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch; there is no complex image, so no residual."""
        zero_filled_BHW = measurement.zero_filled()
        # the published network sees the target's field of view alone
        seen_BHW = centre_crop_or_pad(zero_filled_BHW, measurement.target_hw)
        cleaned_BHW = self._standardised(seen_BHW)
        return Estimate(centre_crop_or_pad(cleaned_BHW, _grid(zero_filled_BHW)).clamp_min(0))

    def _standardised(self, image_BHW: Tensor) -> Tensor:
        mean = image_BHW.mean((-2, -1), keepdim=True)
        std = image_BHW.std((-2, -1), keepdim=True)
        out = self.unet(((image_BHW - mean) / (std + EPS)).unsqueeze(1)).squeeze(1)
        restored = out * std + mean
        # a blank slice reconstructs to zeros whatever the last layer's bias
        return torch.where(std == 0, image_BHW, restored)


def _grid(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
