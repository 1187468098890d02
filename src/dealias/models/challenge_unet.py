"""The tiny U-Net that the SNU fastMRI challenge gives its participants to begin with."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.lines import laid_out
from dealias.models.layers.reflect import reflected
from dealias.models.network import Block, Network, NetworkSettings
from dealias.physics.readout import centre_crop_or_pad
from dealias.scan.measurement import Estimate, Measurement

EPS = 1e-5
"""Added to the variance, as nn.BatchNorm2d does."""


class ChallengeUnetSettings(NetworkSettings):
    """Settings of the challenge's tiny U-Net; the defaults are the published configuration.

    Attributes:
        name: "challenge-unet".
        channels: At full resolution; twice as many at half of it.
    """

    name: Literal["challenge-unet"] = "challenge-unet"
    channels: int = Field(default=2, ge=1, le=1024)


class FixedNorm(nn.Module):
    """Batch normalisation as it is after training: by statistics that stay what they are.

    Published with statistics of the batch while it trains, by which an image would depend on those
    beside it. Those of a published file are kept; a fresh layer begins with mean 0 and variance 1,
    which its input, standardised, about has.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=EPS)


class NormalisedConvBlock(Block):
    """Twice: 3x3 convolution, fixed normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = Conv2d(in_channels, out_channels, 3, padding=1)
        self.first_norm = FixedNorm(out_channels)
        self.second = Conv2d(out_channels, out_channels, 3, padding=1)
        self.second_norm = FixedNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        x = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(x)))


class ChallengeUnet(Network):
    """One pooling, on the standardised zero-filled magnitude of the target's field of view."""

    def __init__(self, settings: ChallengeUnetSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        channels = settings.channels
        self.down = NormalisedConvBlock(1, channels)
        self.middle = NormalisedConvBlock(channels, 2 * channels)
        self.up = ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.decode = NormalisedConvBlock(2 * channels, channels)
        self.last = Conv2d(channels, 1, 1)

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch; there is no complex image, so no residual."""
        zero_filled_BHW = measurement.zero_filled()
        seen_BHW = centre_crop_or_pad(zero_filled_BHW, measurement.target_hw)
        mean, std = (one(seen_BHW, (-2, -1), keepdim=True) for one in (torch.mean, torch.std))
        safe = torch.where(std == 0, torch.ones_like(std), std)
        cleaned_BHW = self._cleaned(((seen_BHW - mean) / safe).unsqueeze(1)).squeeze(1) * std + mean
        grid = (zero_filled_BHW.shape[-2], zero_filled_BHW.shape[-1])
        return Estimate(centre_crop_or_pad(cleaned_BHW, grid).clamp_min(0))

    def _cleaned(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to the same; where an odd size was halved, a row or column is reflected."""
        skip = self.down(laid_out(x, torch.channels_last))
        x = self.up(self.middle(F.max_pool2d(skip, 2)))
        for axis in (-2, -1):
            x = reflected(x, axis, 0, skip.shape[axis] - x.shape[axis])
        return self.last(self.decode(torch.cat([skip, x], dim=1)))
