"""Optimisers: torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

_KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}


class OptimiserSettings(BaseModel):
    """The optimiser.

    Attributes:
        name: "adam"; "adamw" with decoupled weight decay; "nadam", Adam with Nesterov's momentum
            (Dozat 2016); "radam", rectified Adam (Liu et al. 2020, arXiv 1908.03265).
        lr: Learning rate before the schedule's factor.
        betas: Decay rates of the moments.
        weight_decay: Share of the learning rate that is taken off the weights where it is
            decoupled, and what is added to the gradient for each unit of a weight where it is not.
        decoupled: Whether the weight decay of nadam and radam is adamw's.
        decay_all: Whether norms' scales and biases decay as well: everything of one dimension.
        momentum_decay: How slowly nadam's momentum comes to its full size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adam", "adamw", "nadam", "radam"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    decoupled: bool = False
    decay_all: bool = True
    momentum_decay: float = Field(default=4e-3, ge=0)

    @model_validator(mode="after")
    def _one_decay(self) -> OptimiserSettings:
        if self.decoupled and self.name == "adam":
            raise ValueError("adam with decoupled weight decay is name=adamw")
        return self


def build_optimiser(settings: OptimiserSettings, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a network's parameters."""
    more: dict[str, Any] = {}
    if settings.name in ("nadam", "radam"):
        more["decoupled_weight_decay"] = settings.decoupled
    if settings.name == "nadam":
        more["momentum_decay"] = settings.momentum_decay
    return _KINDS[settings.name](
        _groups(settings, network),
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        **more,
    )


def _groups(settings: OptimiserSettings, network: nn.Module) -> list[dict[str, Any]]:
    parameters = list(network.parameters())
    if settings.decay_all:
        return [{"params": parameters}]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def state_bytes(settings: OptimiserSettings, weights: int) -> int:
    """State of an optimiser for so many bytes of weights: seen on a small parameter."""
    small = nn.Parameter(torch.zeros(1000))
    small.grad = torch.zeros_like(small)
    optimiser = build_optimiser(settings, nn.ParameterList([small]))
    optimiser.step()
    state = [one for one in optimiser.state[small].values() if torch.is_tensor(one) and one.ndim]
    return sum(one.nbytes for one in state) * weights // small.nbytes
