"""Instance normalisation alone (Ulyanov et al. 2016)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.models.layers.norm import EPS


def instance_norm(x: Tensor) -> Tensor:
    """Each channel of each item minus its mean, over its standard deviation; no parameters.

    Args:
        x: (N, C, H, W) real, in any memory format. Means and variances are float32 or better.

    Returns:
        Same shape and dtype, contiguous.
    """
    exact = x.contiguous().to(torch.promote_types(x.dtype, torch.float32))
    return F.group_norm(exact, x.shape[1], eps=EPS).to(x.dtype)
