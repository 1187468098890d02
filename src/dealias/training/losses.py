"""Losses: the protocol's own SSIM, or L1, inside the foreground."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from dealias.metrics.similarity import ssim


class LossSettings(BaseModel):
    """The loss.

    Attributes:
        kind: "ssim" is 1 - SSIM; "l1" the mean absolute error over the data range.
        foreground: Whether everything outside the foreground mask is set to zero in both images, as
            the challenge scores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["ssim", "l1"] = "ssim"
    foreground: bool = True


def loss(
    settings: LossSettings,
    image_BHW: Tensor,
    target_BHW: Tensor,
    foreground_BHW: Tensor,
    range_B: Tensor,
) -> Tensor:
    """The loss of each item, in float32.

    Args:
        settings: Which one.
        image_BHW: The network's image, in the data's units.
        target_BHW: The reference.
        foreground_BHW: 1 inside the anatomy.
        range_B: Data range of each item's volume.

    Returns:
        (B,).
    """
    if settings.foreground:
        image_BHW, target_BHW = image_BHW * foreground_BHW, target_BHW * foreground_BHW
    if settings.kind == "ssim":
        return 1 - ssim(image_BHW, target_BHW, range_B)
    scaled = (image_BHW - target_BHW) / range_B[:, None, None]
    return torch.mean(scaled.abs(), dim=(-2, -1))
