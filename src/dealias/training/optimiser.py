"""Optimisers."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn


class OptimiserSettings(BaseModel):
    """The optimiser.

    Attributes:
        name: "adam", or "adamw" with decoupled weight decay.
        lr: Learning rate before the schedule's factor.
        betas: Decay rates of the moments.
        weight_decay: As that optimiser understands it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)


def build_optimiser(settings: OptimiserSettings, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a network's parameters."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(
        network.parameters(),
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )
