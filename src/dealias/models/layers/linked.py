"""Decoders that hand what they see to the decoder of a later cascade (Ottesen et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Features = tuple[Tensor, ...]
"""What each decoder level gave, from full resolution to the lowest."""


def decoded(
    level: Callable[..., Tensor], x: Tensor, skips: list[Tensor], earlier: Features
) -> Features:
    """Run a decoder from the lowest level to full resolution.

    Args:
        level: Of a depth (0 is full resolution), what comes from below, a skip and, if there is
            one, the earlier cascade's feature of that depth.
        x: What comes from below the lowest level.
        skips: Of the encoder, from full resolution to the lowest. The list is emptied, so that
            what is no longer needed may go.
        earlier: Features of the cascade before; none if the decoder is not linked to it.
    """
    features: list[Tensor] = []
    while skips:
        skip, depth = skips.pop(), len(skips)
        x = level(depth, x, skip, *earlier[depth : depth + 1])
        features.insert(0, x)
    return tuple(features)
