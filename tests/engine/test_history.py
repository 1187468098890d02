"""A history of earlier cascades survives recomputation; one that is changed in place is caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dealias.engine.policies import MemoryPolicy
from dealias.models.network import Cascade


class Remembering(Cascade):
    """Looks at what the two cascades before gave: history is a new tuple each time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1)

    def step(self, x: Tensor, history: Any) -> Tensor:
        return x + torch.tanh(self.layer(sum(history[-2:], x)))

    def forward(self, x: Tensor, history: Any) -> Any:
        x = self.step(x, history)
        return x, (*history, x)


class Appending(Remembering):
    """The same function, but the one history is changed in place."""

    def forward(self, x: Tensor, history: Any) -> Any:
        x = self.step(x, history)
        history.append(x)
        return x, history


def recalled(kind: type[Remembering], policy: MemoryPolicy) -> list[Tensor]:
    """Output and gradients of five cascades with a history."""
    torch.manual_seed(0)
    network = nn.ModuleList(kind() for _ in range(5)).double()
    policy.apply(network)
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    history: Any = [] if kind is Appending else ()
    for cascade in network:
        x, history = cascade(x, history)
    x.square().sum().backward()
    return [x.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


SAVING = [
    MemoryPolicy(cascades="recompute"),
    MemoryPolicy(cascades="keep_convolutions"),
    MemoryPolicy(cascades="recompute", offload=("boundaries",)),
]


@pytest.mark.parametrize("policy", SAVING)
def test_history_survives(policy: MemoryPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dealias.engine.offload.to_host", torch.clone)
    plain = recalled(Remembering, MemoryPolicy())
    found = recalled(Remembering, policy)
    assert len(plain) == 11
    assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize("policy", SAVING)
def test_a_history_changed_in_place_would_be_caught(policy: MemoryPolicy) -> None:
    """The published PromptMR+ has this fault: the image is right, the gradients are not."""
    plain = recalled(Appending, MemoryPolicy())
    assert torch.equal(plain[0], recalled(Remembering, MemoryPolicy())[0])
    if policy.cascades == "keep_convolutions":
        with pytest.raises(RuntimeError, match="not found in storage"):
            recalled(Appending, policy)
        return
    found = recalled(Appending, policy)
    assert torch.equal(found[0], plain[0])
    worst = max(float((a - b).norm() / b.norm()) for a, b in zip(found, plain, strict=True))
    assert worst > 1e-2
