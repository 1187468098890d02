"""Combining coil images."""

from __future__ import annotations

import torch
from torch import Tensor


def rss(x: Tensor, coil_axis: int) -> Tensor:
    """Root of the sum of squared magnitudes over coils.

    Its gradient at 0 is 0, so an empty slice stays finite (torch.linalg.vector_norm's choice).

    Args:
        x: Coil images, complex or real.
        coil_axis: The axis C.

    Returns:
        Real, >= 0, without the coil axis.
    """
    return torch.linalg.vector_norm(x, dim=coil_axis)


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient that is 0 where the denominator is 0, and whose other values are untouched.

    Args:
        numerator: Real or complex; must be 0 wherever the denominator is.
        denominator: Real, broadcastable.

    Returns:
        numerator / denominator.
    """
    one = torch.ones((), dtype=denominator.dtype, device=denominator.device)
    return numerator / torch.where(denominator == 0, one, denominator)


def combine(coil_images_BSCHW: Tensor, sens_BSCHW: Tensor) -> Tensor:
    """S^H z: coil images to one complex image (B, S, H, W)."""
    return (sens_BSCHW.conj() * coil_images_BSCHW).sum(2)
