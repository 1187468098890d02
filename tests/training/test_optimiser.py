"""Optimisers: torch's own with the settings that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dealias.training.optimiser import OptimiserSettings, build_optimiser, state_bytes

CASES: dict[str, tuple[dict[str, Any], Callable[[Any], torch.optim.Optimizer]]] = {
    "adam": (
        {"name": "adam", "betas": (0.8, 0.99)},
        lambda p: torch.optim.Adam(p, 0.1, betas=(0.8, 0.99), weight_decay=0.2),
    ),
    "adamw": ({"name": "adamw"}, lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.2)),
    "nadam": (
        {"name": "nadam", "momentum_decay": 0.1},
        lambda p: torch.optim.NAdam(p, 0.1, weight_decay=0.2, momentum_decay=0.1),
    ),
    "nadam, decoupled": (
        {"name": "nadam", "decoupled": True},
        lambda p: torch.optim.NAdam(p, 0.1, weight_decay=0.2, decoupled_weight_decay=True),
    ),
    "radam": ({"name": "radam"}, lambda p: torch.optim.RAdam(p, 0.1, weight_decay=0.2)),
    "radam, decoupled": (
        {"name": "radam", "decoupled": True},
        lambda p: torch.optim.RAdam(p, 0.1, weight_decay=0.2, decoupled_weight_decay=True),
    ),
}


def layer() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2, dtype=torch.float64)


def trained(network: torch.nn.Linear, optimiser: torch.optim.Optimizer) -> torch.Tensor:
    """Weights after eight steps: RAdam's first five are not rectified."""
    for step in range(8):
        optimiser.zero_grad()
        network(torch.full((1, 3), 1.0 + step, dtype=torch.float64)).square().sum().backward()
        optimiser.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("case", CASES)
def test_steps_are_torchs(case: str) -> None:
    values, make = CASES[case]
    settings = OptimiserSettings(lr=0.1, weight_decay=0.2, **values)
    ours, theirs = layer(), layer()
    a = trained(ours, build_optimiser(settings, ours))
    assert torch.equal(a, trained(theirs, make(theirs.parameters())))
    # the case says something: each differs from all others
    others = [make for other, (_, make) in CASES.items() if other != case]
    for other in others:
        network = layer()
        assert not torch.equal(a, trained(network, other(network.parameters())))


@pytest.mark.parametrize("decay_all", [True, False])
def test_without_a_gradient_only_what_decays_shrinks(decay_all: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).double()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    settings = OptimiserSettings(name="adamw", lr=0.1, weight_decay=0.2, decay_all=decay_all)
    optimiser = build_optimiser(settings, network)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in network.named_parameters():
        share = 1 - 0.1 * 0.2 if decay_all or name == "0.weight" else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * share, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "radam"])
def test_the_state_is_as_large_as_said(name: Any) -> None:
    network = torch.nn.Conv2d(16, 32, 3)
    settings = OptimiserSettings(name=name, decay_all=False)
    optimiser = build_optimiser(settings, network)
    network(torch.ones(1, 16, 8, 8)).sum().backward()
    optimiser.step()
    kept = [tensor for one in optimiser.state.values() for tensor in one.values() if tensor.ndim]
    weights = sum(p.nbytes for p in network.parameters())
    assert state_bytes(settings, weights) == sum(tensor.nbytes for tensor in kept) == 2 * weights


def test_decoupled_adam_is_adamw() -> None:
    with pytest.raises(ValidationError, match="name=adamw"):
        OptimiserSettings(decoupled=True)
