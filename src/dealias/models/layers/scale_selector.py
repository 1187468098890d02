"""dHUMUS's scale selector: how alike an image's interleaved halves, thirds and quarters are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.metrics.similarity import WINDOW, ssim
from dealias.models.layers.linear import Linear
from dealias.models.layers.reflect import reflected
from dealias.physics.coils import divide


class ScaleSelector(nn.Module):
    """Weights of the scales, from an image's structural similarity to itself, one pixel further.

    An image with much of one pattern can be seen at a coarse scale. Its pixels at every f-th row
    and column make f^2 images; how unlike the others are the first is what a recurrent layer sees,
    factor after factor.

    Args:
        factors: All f, 2 or more.
        hidden: Width of the recurrent layer.
        scales: How many weights.
        hard: Whether the best scale gets all the weight; its gradient is that of the soft weights
            all the same (straight-through, Bengio et al. 2013), so that it learns.
    """

    def __init__(self, factors: Sequence[int], hidden: int, scales: int, hard: bool) -> None:
        super().__init__()
        self.factors, self.hard = tuple(factors), hard
        self.inputs = nn.ModuleList(Linear(f**2 - 1, hidden) for f in factors)
        self.recur = Linear(hidden, hidden)
        self.last = Linear(hidden, scales)

    def forward(self, magnitude_N1HW: Tensor) -> Tensor:
        """Weights (N, scales), >= 0 and of sum 1.

        The image gets no gradient: it is looked at, not made easier to judge.
        """
        image = _unit_range(magnitude_N1HW.detach())
        hidden = image.new_zeros(len(image), self.recur.in_features)
        for factor, layer in zip(self.factors, self.inputs, strict=True):
            hidden = F.relu(layer(unlikeness(image, factor)) + self.recur(hidden))
        weights = torch.softmax(self.last(hidden), dim=1)
        if not self.hard:
            return weights
        best = torch.zeros_like(weights).scatter(1, weights.argmax(1, keepdim=True), 1.0)
        return best + (weights - weights.detach())


def unlikeness(image_N1HW: Tensor, factor: int) -> Tensor:
    """1 - SSIM between the first of an image's interleaved parts and each other one.

    Args:
        image_N1HW: Real, of range 1.
        factor: f; parts are every f-th row of every f-th column.

    Returns:
        (N, f^2 - 1).
    """
    for axis in (-2, -1):
        size = image_N1HW.shape[axis]
        after = max(-size % factor, WINDOW * factor - size)
        image_N1HW = reflected(image_N1HW, axis, 0, after)
    parts = F.pixel_unshuffle(image_N1HW, factor)
    first, others = parts[:, :1], parts[:, 1:]
    return 1 - ssim(first.expand_as(others), others, 1.0)


def _unit_range(image_N1HW: Tensor) -> Tensor:
    low = image_N1HW.amin((-2, -1), keepdim=True)
    return divide(image_N1HW - low, image_N1HW.amax((-2, -1), keepdim=True) - low)
