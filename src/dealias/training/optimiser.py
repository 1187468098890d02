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


def state_bytes(settings: OptimiserSettings, weights: int) -> int:
    """State of an optimiser for so many bytes of weights: seen on a small parameter."""
    small = nn.Parameter(torch.zeros(1000))
    small.grad = torch.zeros_like(small)
    optimiser = build_optimiser(settings, nn.ParameterList([small]))
    optimiser.step()
    state = [one for one in optimiser.state[small].values() if torch.is_tensor(one) and one.ndim]
    return sum(one.nbytes for one in state) * weights // small.nbytes
