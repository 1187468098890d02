"""Attention among the positions that alias onto one another (Giannakopoulos et al. 2024).

With every R-th line measured, R positions of a row, W / R apart, lie on one another. Each position
attends to these, as many as its own scan has.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.lines import laid_out_like
from dealias.models.layers.norm import instance_norm
from dealias.models.network import Block

PERIOD = 10_000.0
"""Longest period of the position's code, in rows, over 2 pi."""


class AliasAttention(Block):
    """x + 1x1 convolution of what the alias positions of each position hold.

    Args:
        channels: Of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.last = (
            Conv2d(channels, channels, 1) for _ in range(4)
        )
        # one for queries, keys and values alike
        self.around = Conv2d(channels, channels, 3, padding=2, dilation=2)

    def forward(self, x: Tensor, accelerations: tuple[int, ...]) -> Tensor:
        """(N, C, H, W) and of each item its number of aliases, to (N, C, H, W)."""
        y = instance_norm(x)
        y = y + position_code(y.shape[-2], y.shape[-1], y)
        query, key, value = (self.around(own(y)) for own in (self.query, self.key, self.value))
        found = laid_out_like(_each(query, key, value, accelerations), x)
        return x + self.last(found)


def _each(query: Tensor, key: Tensor, value: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Attention with each item's own number of aliases; all at once where they are the same."""
    if len(counts) != len(query):
        raise ValueError(f"{len(counts)} accelerations for {len(query)} items")
    if len(set(counts)) == 1:
        return attend(query, key, value, counts[0])
    items = zip(torch.split(query, 1), torch.split(key, 1), torch.split(value, 1), strict=True)
    return torch.cat([attend(*item, count) for item, count in zip(items, counts, strict=True)])


def attend(query: Tensor, key: Tensor, value: Tensor, count: int) -> Tensor:
    """Softmax attention among `count` positions of each row, equally far from one another.

    Where W is no multiple of the count, rows are extended by reflection at both ends.

    Args:
        query: (N, C, H, W).
        key: The same.
        value: The same.
        count: Of positions, at most W.

    Returns:
        (N, C, H, W).
    """
    width = query.shape[-1]
    count = min(count, width)
    extra = -width % count
    pads = (extra - extra // 2, extra // 2, 0, 0)
    # A: which alias, P: the position within one W / count
    query_NCHAP, key_NCHAP, value_NCHAP = (
        (F.pad(one, pads, mode="reflect") if extra else one).reshape(*one.shape[:3], count, -1)
        for one in (query, key, value)
    )
    scores_NHPAD = torch.einsum("nchap,nchdp->nhpad", query_NCHAP, key_NCHAP)
    weights_NHPAD = F.softmax(scores_NHPAD * query.shape[1] ** -0.5, dim=-1)
    found_NCHAP = torch.einsum("nhpad,nchdp->nchap", weights_NHPAD, value_NCHAP)
    return found_NCHAP.flatten(-2)[..., pads[0] : pads[0] + width]


def position_code(height: int, width: int, like: Tensor) -> Tensor:
    """sin(h / PERIOD^(2 floor(w/2) / W)): (H, W), as published; columns 2n and 2n + 1 are alike.

    Args:
        height: H.
        width: W.
        like: Gives device and dtype; computed in float32 or better.
    """
    exact = torch.promote_types(like.dtype, torch.float32)
    rows_H1 = torch.arange(height, dtype=exact, device=like.device)[:, None]
    pairs_W = torch.arange(width, device=like.device) // 2
    code_HW = torch.sin(rows_H1 / PERIOD ** (2 * pairs_W.to(exact) / width))
    return code_HW.to(like.dtype)
