"""Memory policies, applied to a network from outside; outputs and gradients stay the same."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.utils.checkpoint import checkpoint

from dealias.models.network import Block, Cascade, PerCoil, plain


class MemoryPolicy(BaseModel):
    """What is kept for the backward pass, and what is computed again.

    Attributes:
        cascades: "recompute" keeps only each cascade's input: about a third more time.
        blocks: "recompute" does the same for each block of a denoiser.
        coils: Coils the sensitivity network sees at once, each chunk recomputed; None for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cascades: Literal["keep", "recompute"] = "keep"
    blocks: Literal["keep", "recompute"] = "keep"
    coils: int | None = Field(default=None, ge=1)

    def apply(self, network: nn.Module) -> None:
        """Set the runner of every unit of a network."""
        for unit in network.modules():
            if isinstance(unit, Cascade):
                unit.runner = recompute if self.cascades == "recompute" else plain
            elif isinstance(unit, Block):
                unit.runner = recompute if self.blocks == "recompute" else plain
            elif isinstance(unit, PerCoil):
                unit.runner = Chunks(self.coils) if self.coils else plain

    def explain(self) -> str:
        """One line for a person."""
        coils = f"coils {self.coils} at a time" if self.coils else "all coils at once"
        return f"cascades {self.cascades}, blocks {self.blocks}, {coils}"


def recompute(function: Any, *tensors: Any) -> Any:
    """Run a unit so that its activations are computed again in the backward pass.

    Dropout draws the same numbers again. Without gradients it just runs.
    """
    if not torch.is_grad_enabled():
        return function(*tensors)
    return checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=True)


class Chunks:
    """A runner for units that treat each item of axis 0 alone.

    Args:
        size: Items run at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, function: Any, tensor: Any) -> Any:
        """Run chunk by chunk, each its own recomputation."""
        return torch.cat([recompute(function, chunk) for chunk in tensor.split(self.size)])
