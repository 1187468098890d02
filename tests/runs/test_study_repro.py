"""A training watched from outside is the same training; what does not repeat is named exactly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dealias.data.catalogue import open_split
from dealias.data.remask import MaskSettings
from dealias.data.simulate import SimulateSettings, simulate
from dealias.engine.policies import MemoryPolicy
from dealias.metrics.protocol import PROTOCOLS
from dealias.models.network import Network
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.runs.hooks import Hooks
from dealias.runs.study.checksum import CHUNK, checksum
from dealias.runs.study.repro import OPTIMISER, Trace, first_difference, traced
from dealias.runs.study.watch import DATA, LOSS, Event, Step
from dealias.scan.scan import Scan
from dealias.training.job import Progress, TrainingJob
from dealias.training.loop import train
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings

TINY = VarNetSettings(cascades=2, channels=2, pools=1, sens_channels=2, sens_pools=1)
PLACE = "cascades.1.denoiser.network.down.0"
Plant = Callable[[Network], None]


def chance() -> float:
    """A number of no seed."""
    return 1e-3 * (1 + int.from_bytes(os.urandom(6), "big") / 2**48)


class Wrapped(nn.Module):
    """Another module, and then something."""

    def __init__(self, inner: nn.Module, then: Callable[[Any], Any]) -> None:
        super().__init__()
        self.inner, self.then = inner, then

    def forward(self, *tensors: Any) -> Any:
        return self.then(self.inner(*tensors))


class NoisyGradient(torch.autograd.Function):
    """The identity, with a gradient that nobody can repeat."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (1 + chance())


class NoGradient(torch.autograd.Function):
    """Says that its input has no part in what follows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        return None


def wrap(network: Network, name: str, then: Callable[[Any], Any]) -> None:
    parent, _, own = name.rpartition(".")
    holder = network.get_submodule(parent)
    setattr(holder, own, Wrapped(getattr(holder, own), then))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, ...]:
    root = tmp_path_factory.mktemp("repro")
    simulate(SimulateSettings(subjects=1, shares=(1, 0, 0), slices=1, coils=3, size=(32, 24)),
             root / "set", lambda done: None)  # fmt: skip
    return open_split(root / "set", "train")


@pytest.fixture
def trained(scans: tuple[Scan, ...], tmp_path: Path) -> Callable[..., Trace]:
    """trained(plant, steps=2, memory=...) -> what the training of a planted network did."""
    count = iter(range(100))

    def run(
        plant: Plant = lambda network: None, steps: int = 2, memory: MemoryPolicy | None = None,
        watch: bool = True, **training: Any,
    ) -> Trace:  # fmt: skip
        torch.manual_seed(0)
        network = VarNet(TINY)
        plant(network)
        (memory or MemoryPolicy()).apply(network)
        settings = TrainingSettings(**{"epochs": 1, "save_minutes": None, **training})
        folder = tmp_path / str(next(count))
        folder.mkdir()

        def work(hooks: Hooks) -> None:
            train(
                TrainingJob(
                    network, MaskSettings(), LossSettings(), OptimiserSettings(lr=1e-2),
                    ScheduleSettings(), settings, scans, (), PROTOCOLS["fastmri"], folder,
                    torch.device("cpu"), progress=hooks.progress,
                )
            )  # fmt: skip

        if watch:
            return traced(work, steps)
        work(Hooks())
        return Trace((), {key: one.numpy().copy() for key, one in network.state_dict().items()})

    return run


def test_watching_changes_no_bit_of_the_training(trained: Callable[..., Trace]) -> None:
    policy = MemoryPolicy(cascades="recompute", blocks="recompute", coils=1)
    seen, unseen = trained(steps=99, memory=policy), trained(memory=policy, watch=False)
    assert len(seen.steps) == 4
    for key, value in unseen.state.items():
        np.testing.assert_array_equal(seen.state[key], value, err_msg=key)


def test_each_stages_steps_are_counted_and_validations_are_not() -> None:
    def work(hooks: Hooks) -> None:
        for step, doing in ((1, "training"), (1, "validating"), (1, "training"), (2, "training")):
            hooks.progress(Progress(0, 1, step, 2, 0.5, None, doing))

    assert len(traced(work, 99).steps) == 3
    assert len(traced(work, 2).steps) == 2


def test_seeded_dropout_repeats(trained: Callable[..., Trace]) -> None:
    def plant(network: Network) -> None:
        wrap(network, PLACE, nn.Dropout(0.3))

    one, other = trained(plant), trained(plant)
    assert len(one.steps) == 2 and all(len(step.events) > 50 for step in one.steps)
    assert first_difference(one, other) is None
    assert len({step.weights for step in one.steps}) == 2
    found = first_difference(one, trained(plant, steps=1, seed=1))
    assert found is not None and found.step == 1


def test_a_gradient_that_is_not_there_is_passed_over(trained: Callable[..., Trace]) -> None:
    def plant(network: Network) -> None:
        relu = nn.ReLU()
        wrap(network, PLACE, lambda x: x + NoGradient.apply(relu(x)))  # type: ignore[no-untyped-call]

    one, other = trained(plant), trained(plant)
    assert len(one.steps) == 2 and first_difference(one, other) is None


def test_a_module_of_no_seed_is_named_and_so_is_its_step(trained: Callable[..., Trace]) -> None:
    calls: Iterator[int]

    def plant(network: Network) -> None:
        nonlocal calls
        calls = iter(range(100))
        wrap(network, PLACE, lambda x: x * (1 + chance()) if next(calls) >= 1 else x)

    found = first_difference(trained(plant), trained(plant))
    assert found is not None
    assert (found.step, found.module) == (2, PLACE)
    assert found.what == f"the output of {PLACE}"
    assert found.losses[0] != found.losses[1]
    assert 0 < found.share < 1


@pytest.mark.parametrize("memory", [MemoryPolicy(), MemoryPolicy(cascades="recompute", coils=1)])
def test_a_gradient_of_no_seed_is_named(
    trained: Callable[..., Trace], memory: MemoryPolicy
) -> None:
    def plant(network: Network) -> None:
        wrap(network, PLACE, NoisyGradient.apply)

    one, other = (trained(plant, steps=1, memory=memory) for _ in range(2))
    found = first_difference(one, other)
    assert found is not None
    assert (found.step, found.module) == (1, PLACE)
    assert found.losses[0] == found.losses[1]
    assert found.norms[0] != found.norms[1]


def test_what_a_network_does_between_its_modules_is_its_own_fault(
    trained: Callable[..., Trace],
) -> None:
    class Careless(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x * (1 + chance()))

    def plant(network: Network) -> None:
        network.cascades[1].denoiser.network.down[0] = Careless(
            network.cascades[1].denoiser.network.down[0]
        )

    found = first_difference(trained(plant), trained(plant))
    assert found is not None
    assert (found.module, found.what) == (PLACE, f"the input of {PLACE}.inner")


def step(weights: int = 1, loss: float = 0.5, *events: Event) -> Step:
    return Step(loss, 1.0, weights, events)


def test_what_is_no_module_is_named_as_well() -> None:
    same = Event(DATA, "the input of the network itself", 7)
    before = Trace((step(), step(1, 0.5, same)), {"w": np.array([1.0, -4.0])})

    def found(changed: Step) -> tuple[int, str]:
        difference = first_difference(
            before, Trace((step(), changed), {"w": np.array([1.0, -3.0])})
        )
        assert difference is not None
        assert (difference.apart, difference.share) == (1.0, 0.25)
        return difference.step, difference.module

    assert found(step(2, 0.5, same)) == (2, OPTIMISER)
    assert found(step(2, 0.4, same)) == (2, LOSS)
    assert found(step(2, 0.4, same._replace(value=8))) == (2, DATA)
    assert first_difference(before, before) is None
    shorter = first_difference(before, Trace(before.steps[:1], before.state))
    assert shorter is not None and shorter.step == 2
    undefined = Trace((step(1, float("nan")),), {})
    assert first_difference(undefined, undefined) is None


def test_a_checksum_sees_every_word_and_its_place() -> None:
    x = torch.randn(CHUNK + 5, generator=torch.Generator().manual_seed(0))
    known = int(checksum(x))
    assert int(checksum(x.clone())) == known
    for place in (0, CHUNK - 1, CHUNK, CHUNK + 4):
        changed = x.clone()
        changed[place] = torch.nextafter(changed[place], torch.tensor(9.0))
        assert int(checksum(changed)) != known
    swapped = x[torch.tensor([1, 0, *range(2, len(x))])]
    assert int(checksum(swapped)) != known
    grid = x[:24].reshape(4, 6)
    assert int(checksum(grid.T)) == int(checksum(grid.T.contiguous())) != int(checksum(grid))
    z = torch.complex(grid, 2 * grid)
    assert int(checksum(z.conj())) == int(checksum(torch.conj_physical(z))) != int(checksum(z))
    kinds = torch.tensor([0.0, -0.0, float("nan"), float("inf")])
    assert len({int(checksum(one)) for one in kinds}) == 4
    for dtype in (torch.bool, torch.bfloat16, torch.float64):
        assert int(checksum(grid.to(dtype))) != int(checksum(torch.zeros(4, 6, dtype=dtype)))
    assert int(checksum(torch.zeros(2))) != int(checksum(torch.zeros(3)))
