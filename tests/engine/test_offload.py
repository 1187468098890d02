"""Parking on the CPU changes no bit; a fake host shows here what a GPU would gain."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from dealias.engine.offload import Boundaries, park_optimiser, to_host
from dealias.engine.policies import MemoryPolicy
from dealias.models.network import Cascade


class Host:
    """Stands for the CPU's memory: keeps copies, and counts them."""

    def __init__(self) -> None:
        self.copies = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        self.copies += 1
        return tensor.clone()


class State(NamedTuple):
    x: Tensor
    before: Tensor | None


class Step(Cascade):
    """Takes an object, a tensor that all steps see, and a state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1)
        self.dropout = nn.Dropout(0.3)

    def forward(self, scale: dict[str, float], data: Tensor, state: State) -> State:
        x = self.dropout(torch.tanh(self.layer(state.x))) * scale["of"] + data * state.x
        return State(x if state.before is None else x + state.before, state.x)


def steps(runner: Any = None) -> nn.ModuleList:
    torch.manual_seed(0)
    network = nn.ModuleList(Step() for _ in range(4)).double()
    if runner is not None:
        for step in network:
            step.runner = runner  # type: ignore[assignment]
    return network


def through(network: nn.ModuleList) -> tuple[Tensor, list[StorageWeakRef], Tensor]:
    """The last state's image, references to the memory of all states' images, and the data."""
    torch.manual_seed(1)
    data = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    state, seen = State(data * 2, None), []
    for step in network:
        state = step({"of": 0.5}, data, state)
        seen.append(StorageWeakRef(state.x.untyped_storage()))
    return state.x, seen, data


def gradients(network: nn.ModuleList) -> list[Tensor | None]:
    x, _, data = through(network)
    x.square().sum().backward()
    return [x.detach(), data.grad, *(parameter.grad for parameter in network.parameters())]


def test_parked_boundaries_change_no_bit() -> None:
    for a, b in zip(gradients(steps(Boundaries(Host()))), gradients(steps()), strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)


def test_a_copied_runner_parks_for_itself() -> None:
    host = Host()
    runner = Boundaries(host)
    x = torch.ones(3)
    for one in (runner, copy.deepcopy(runner)):
        one(lambda tensor: tensor * 2, x)
    assert host.copies == 2


def test_what_several_units_see_is_parked_once() -> None:
    host = Host()
    gradients(steps(Boundaries(host)))
    # the data, the first state, and what the first three steps gave; x and before are one of them
    assert host.copies == 5


def test_what_was_changed_in_between_is_parked_anew() -> None:
    host = Host()
    runner = Boundaries(host)
    weight = torch.ones(3, requires_grad=True)
    x = torch.ones(3)
    first = runner(lambda tensor: (tensor * weight).sum(), x)
    x.fill_(7)
    second = runner(lambda tensor: (tensor * weight).sum(), x)
    assert host.copies == 2
    (first + second).backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [8.0] * 3


def test_boundaries_leave_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between forward and backward pass no unit's input takes memory where it was made."""
    monkeypatch.setattr("dealias.engine.offload.to_host", torch.clone)
    alive = {}
    for offload in ((), ("boundaries",)):
        network = steps()
        MemoryPolicy(cascades="recompute", offload=offload).apply(network)
        x, seen, _ = through(network)
        alive[offload] = [not one.expired() for one in seen]
        x.sum().backward()
    assert alive == {(): [True] * 4, ("boundaries",): [False] * 3 + [True]}


def test_it_counts_on_meta_as_if_parked() -> None:
    network = steps(Boundaries()).to("meta")
    data = torch.empty(1, 2, 6, 6, dtype=torch.float64, device="meta").permute(0, 1, 3, 2)
    state = State(data, None)
    seen = []
    for step in network:
        state = step({"of": 0.5}, data, state)
        seen.append(StorageWeakRef(state.x.untyped_storage()))
    x = state.x
    del state
    assert [one.expired() for one in seen] == [True, True, True, False]
    x.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def trained(steps: int, host: Host | None = None, stop: int | None = None) -> Any:
    """Weights and state after AdamW steps, perhaps resumed from a state_dict in between."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    optimiser = optimiser_of(network, host)
    data = torch.randn(steps, 6, 5)
    for number in range(steps):
        optimiser.zero_grad()
        network(data[number]).square().mean().backward()
        optimiser.step()
        if number + 1 == stop:
            saved = copy.deepcopy((network.state_dict(), optimiser.state_dict()))
            network.load_state_dict(saved[0])
            optimiser = optimiser_of(network, host)
            optimiser.load_state_dict(saved[1])
    state = optimiser.state_dict()["state"]
    return [p.detach() for p in network.parameters()], [
        state[index][key] for index in sorted(state) for key in sorted(state[index])
    ]


def optimiser_of(network: nn.Module, host: Host | None) -> torch.optim.Optimizer:
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    if host is not None:
        park_optimiser(optimiser, host)
    return optimiser


@pytest.mark.parametrize("stop", [None, 3])
def test_a_parked_optimiser_takes_the_same_steps(stop: int | None) -> None:
    host = Host()
    plain, parked = trained(7), trained(7, host, stop)
    for a, b in zip(plain[0] + plain[1], parked[0] + parked[1], strict=True):
        assert torch.equal(a, b)
    # two moments of four parameters, after each step and after loading
    assert host.copies == 8 * (7 + (stop is not None))


def test_the_copy_is_what_the_step_sees() -> None:
    """What was left on the device is spoiled: nothing but the copy from the host may be used."""
    left: list[Tensor] = []

    def away(tensor: Tensor) -> Tensor:
        left.append(tensor)
        copied = tensor.clone()
        with torch.no_grad():
            tensor.fill_(float("nan"))
        return copied

    plain = trained(4)
    parked = trained(4, away)  # type: ignore[arg-type]
    assert len(left) == 32
    assert all(torch.equal(a, b) for a, b in zip(plain[0], parked[0], strict=True))


def test_a_cpu_tensor_is_its_own_copy() -> None:
    x = torch.ones(3)
    assert to_host(x) is x
    meta = torch.empty(3, device="meta")
    assert to_host(meta) is meta


def test_what_stands_there_twice_comes_back_as_one() -> None:
    """Compiled code that was made for one tensor twice is not made for two tensors."""
    alike = []

    def product(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        alike.append(pair[0] is pair[1])
        return (pair[0] * pair[1]).sin()

    x = torch.ones(3, requires_grad=True)
    Boundaries(torch.clone)(product, (x, x)).sum().backward()
    assert alike == [True, True]
    assert x.grad is not None and torch.allclose(x.grad, 2 * torch.cos(torch.ones(3)))
