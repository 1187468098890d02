"""Runners of units that keep less for the backward pass, and compute it again there."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

import dealias.kernels.convolution  # noqa: F401  defines the operation

_CONVOLUTIONS = [
    torch.ops.aten.convolution.default,
    torch.ops.dealias.conv3x3.default,
    torch.ops.dealias.conv3x3_moments.default,
]
"""What dominates the time; of torch's, transposed convolutions are the same operation."""


def recompute(function: Any, *tensors: Any) -> Any:
    """Run a unit so that its activations are computed again in the backward pass.

    Dropout draws the same numbers again. Without gradients it just runs.
    """
    if not torch.is_grad_enabled():
        return function(*tensors)
    return checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=True)


def keep_convolutions(function: Any, *tensors: Any) -> Any:
    """Run a unit so that all but its convolutions is computed again in the backward pass.

    What convolutions give is kept, so none is computed twice. A unit that overwrites it in place
    cannot be run like this: torch refuses it in the backward pass.
    """
    if not torch.is_grad_enabled():
        return function(*tensors)
    return checkpoint(
        function, *tensors, use_reentrant=False, preserve_rng_state=True, context_fn=_contexts
    )


def _contexts() -> Any:
    return create_selective_checkpoint_contexts(_CONVOLUTIONS)  # type: ignore[no-untyped-call]


class Chunks:
    """A runner for units that treat each item of axis 0 alone.

    Without gradients chunks bound the memory as well: one chunk's activations live at a time.

    Args:
        size: Items run at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, function: Any, tensor: Any) -> Any:
        """Run chunk by chunk, each its own recomputation."""
        return torch.cat([recompute(function, chunk) for chunk in tensor.split(self.size)])
