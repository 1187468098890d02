"""Layer normalisation that computes in the precision of what it is given."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm over the last axis, its weights cast to its input's precision.

    Means and variances are float32 or better, as torch computes them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same, in the precision of x."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
