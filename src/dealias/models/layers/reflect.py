"""Images of any size for networks that need multiples: reflected at their edges, then cropped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dealias.models.layers.normalise import NormalisedDenoiser


def reflected(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Extend an axis by reflection, as often as it takes.

    F.pad's "reflect" where that is defined (each side shorter than the axis); beyond, the image
    goes back and forth.

    Args:
        x: Real or complex.
        axis: What to extend.
        before: How many are put in front.
        after: How many are put behind.
    """
    if not (before or after):
        return x
    size = x.shape[axis]
    period = max(1, 2 * (size - 1))
    index = torch.arange(-before, size + after, device=x.device) % period
    return x.index_select(axis, torch.minimum(index, period - index))


class ReflectedDenoiser(NormalisedDenoiser):
    """A denoiser whose image is reflected to a multiple before it is normalised.

    Args:
        network: Takes and gives (N, 2S, H, W) real, H and W multiples of `multiple`.
        groups: Of channels with a mean of their own.
        multiple: What H and W are extended to; half of it on either side.
    """

    def __init__(self, network: nn.Module, groups: int, multiple: int) -> None:
        super().__init__(network, groups, multiple=1)
        self.reflect_to = multiple

    def forward(self, x_NSHW: Tensor, *context: Any) -> Any:
        """(N, S, H, W) complex to the same."""
        height, width = x_NSHW.shape[-2:]
        (above, below), (left, right) = (self._extra(size) for size in (height, width))
        wide_NSHW = reflected(reflected(x_NSHW, -2, above, below), -1, left, right)
        y_NSHW = super().forward(wide_NSHW, *context)
        return y_NSHW[..., above : above + height, left : left + width]

    def _extra(self, size: int) -> tuple[int, int]:
        extra = -size % self.reflect_to
        return extra // 2, extra - extra // 2
