"""A fully connected layer that computes in the precision of what it is given."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """nn.Linear, its weights cast to its input's precision each time it runs."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out), in the precision of x."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)
