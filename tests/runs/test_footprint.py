"""What is counted against the truth: torch's own allocator, in a real training step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.samples import Batch
from dealias.engine import workspace
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import set_precision
from dealias.engine.timing import fastest
from dealias.engine.workspace import Workspace
from dealias.models.network import Trainable
from dealias.models.table import NETWORKS
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.runs.beginning import freeze
from dealias.runs.footprint import Footprint
from dealias.runs.plan import footprint_of
from dealias.runs.rehearsal import blank_batch, infer_once, inputs_of, learn_once
from dealias.runs.search import candidates
from dealias.runs.size import Size
from dealias.runs.tasks import TASKS
from dealias.training.optimiser import OptimiserSettings, state_bytes

CPU = torch.device("cpu")
SMALL = VarNetSettings(cascades=2, channels=8, pools=1, sens_channels=6, sens_pools=1)


def recipe(network: Any = SMALL, **more: Any) -> Recipe:
    return Recipe(**{"name": "small", "network": network, "masks": {"kind": "snu"}, **more})


def sized(**sizes: Any) -> VarNetSettings:
    return SMALL.model_copy(update=sizes)


CLASSIFIER = {"network": {"widths": [16, 32], "depths": [2, 2]}}
CONFIGURATIONS = {
    "plain": (recipe(), Size(4, (128, 96), (96, 96))),
    "four cascades": (recipe(sized(cascades=4, channels=4)), Size(4, (96, 128), (96, 96))),
    "three levels, odd": (recipe(sized(pools=3)), Size(3, (131, 113), (96, 96))),
    "cropped": (recipe(sized(readout_crop=4)), Size(6, (160, 112), (96, 96))),
    "two axes": (recipe(masks={"kind": "variable_density"}),
                 Size(4, (112, 96), (112, 96), two_axes=True)),
    "batch": (recipe(sized(channels=4), training={"batch_size": 2}, loss={"kind": "l1"}),
              Size(4, (96, 96), (96, 96))),
    "accumulated": (recipe(sized(channels=12), training={"accumulation": 2}),
                    Size(4, (96, 112), (96, 96))),
    "half": (recipe(training={"precision": "bf16"}), Size(4, (128, 96), (96, 96))),
    "unet": (recipe(UnetSettings(channels=12, pools=3)), Size(4, (128, 112), (112, 96))),
    "unet, odd": (recipe(UnetSettings(channels=8, pools=2, dropout=0.1)),
                  Size(6, (97, 131), (97, 101))),
    "history": (recipe(NETWORKS["promptmr+"].tiny.model_copy(update={"readout_crop": 2})),
                Size(5, (128, 72), (92, 72))),
    "maps": (recipe(NETWORKS["mambarecon"].tiny), Size(4, (96, 80), (96, 80))),
    "windows": (recipe(NETWORKS["humus"].tiny), Size(4, (96, 64), (96, 64))),
    "features": (recipe(NETWORKS["fivarnet"].tiny), Size(4, (96, 80), (96, 80))),
    "frozen": (recipe(sized(cascades=3), training={"accumulation": 2}),
               Size(4, (96, 80), (96, 80))),
    "classifier": (recipe(task="anatomy", classifier=CLASSIFIER, training={"batch_size": 4}),
                   Size(3, (128, 96), (128, 96))),
}  # fmt: skip
FROZEN = {"frozen": ("sensitivity.*", "cascades.[0-1].*")}
SLOW = ("windows", "features", "four cascades")
every = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CONFIGURATIONS],
)


def filled(batch: Batch) -> Batch:
    """The same batch with numbers in it."""

    def real(one: Tensor) -> Tensor:
        return torch.rand(one.shape, dtype=one.dtype) + 0.1

    ones_BHW = torch.ones(batch.foreground_BHW.shape)
    sens_BSCHW = None if batch.sens_BSCHW is None else real(batch.sens_BSCHW)
    return Batch(real(batch.kspace_BSCHW), batch.masks, real(batch.target_BHW), ones_BHW,
                 real(batch.range_B), batch.names, sens_BSCHW=sens_BSCHW,
                 anatomies=batch.anatomies)  # fmt: skip


class Truth:
    """A recipe's network on the CPU."""

    def __init__(self, recipe: Recipe, size: Size, peak: Any, frozen: Any = ()) -> None:
        torch.manual_seed(0)
        self.recipe, self.size, self.peak = recipe, size, peak
        self.network: Trainable = TASKS[recipe.task].build(recipe)
        set_precision(self.network, recipe.training.precision)
        freeze(self.network, frozen)

    def batch(self, count: int) -> Batch:
        return filled(blank_batch(self.size, self.network.needs, count, anatomy="knee"))

    def there(self, batch: Batch) -> int:
        held = [*self.network.parameters(), *self.network.buffers(), *inputs_of(batch)]
        held += [one.grad for one in self.network.parameters() if one.grad is not None]
        return sum(one.untyped_storage().nbytes() for one in held)

    def training(self, policy: MemoryPolicy) -> int:
        self.network.train().zero_grad(set_to_none=True)
        policy.apply(self.network)
        batch = self.batch(self.recipe.training.batch_size)
        if self.recipe.training.accumulation > 1:
            learn_once(self.network, batch, self.recipe, CPU)
        before = self.there(batch)
        with self.peak() as peak:
            learn_once(self.network, batch, self.recipe, CPU)
        return before + int(peak.bytes)

    def inference(self, policy: MemoryPolicy) -> int:
        self.network.eval().zero_grad(set_to_none=True)
        policy.apply(self.network)
        batch = self.batch(1)
        with self.peak() as peak:
            infer_once(self.network, batch, CPU)
        return self.there(batch) + int(peak.bytes)


def footprint(name: str) -> Footprint:
    frozen = FROZEN.get(name, ())
    return Footprint(*CONFIGURATIONS[name], "cpu", Workspace(CPU), None, frozen)


@pytest.fixture(scope="module")
def memory_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture
def untimed(memory_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are measured for their memory alone, and nobody else reads their times."""

    def once(call: Callable[[], object], device: torch.device, moved: int) -> float:
        call()
        return 1.0

    monkeypatch.setenv("XDG_CACHE_HOME", str(memory_file))
    monkeypatch.setattr(workspace, "usual", once)


def each_way(policies: list[MemoryPolicy]) -> list[MemoryPolicy]:
    """Some that have each way of cascades, of blocks and of coils among them, nested ones first."""
    chosen, seen = [], set[tuple[str, object]]()
    for one in reversed(policies):
        ways = {("cascades", one.cascades), ("blocks", one.blocks), ("coils", one.coils)}
        if not ways <= seen:
            chosen.append(one)
            seen |= ways
    return chosen


@every
def test_within_5_percent_of_the_allocator_under_every_policy(
    name: str, allocator_peak: type, untimed: None
) -> None:
    truth = Truth(*CONFIGURATIONS[name], allocator_peak, FROZEN.get(name, ()))
    plan = footprint(name)
    policies = candidates(plan, (None, 2))
    if name != "plain":
        policies = each_way(policies)
    counts = [plan.training_count(policy) for policy in policies]
    plan.measure(counts, lambda total: lambda done: None)
    off = {}
    for policy, count in zip(policies, counts, strict=True):
        planned = plan.need(policy, count).training.peak
        off[policy.explain()] = planned / truth.training(policy) - 1
    assert len(off) > 1 or name == "classifier"
    assert max(map(abs, off.values())) < 0.05, off


@every
def test_inference_within_5_percent_of_the_allocator(
    name: str, allocator_peak: type, untimed: None
) -> None:
    truth = Truth(*CONFIGURATIONS[name], allocator_peak, FROZEN.get(name, ()))
    plan = footprint(name)
    for policy in candidates(plan, (None, 2))[:2]:
        count = plan.inference_count(policy)
        plan.measure([count], lambda total: lambda done: None)
        planned, found = plan.forecast(count).peak, truth.inference(policy)
        assert abs(planned / found - 1) < 0.05, (policy.explain(), planned, found)


def test_full_size_promptmr_plus_trains_within_6_5_gib_with_adam() -> None:
    published = load_recipe("promptmr-plus", ["network.readout_crop=0"])
    plan = Footprint(published, Size(15, (640, 368), (384, 368)), "cuda", None, None)
    need = plan.need(published.memory)
    assert need.optimiser == 2 * 4 * 82_491_005  # prompts are not trained
    assert 2**31 < need.total < 6.5 * 2**30


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_keeps_two_moments(name: Any) -> None:
    assert state_bytes(OptimiserSettings(name=name), 1_000_000) == 2_000_000


def test_gradients_of_earlier_batches_are_there_from_the_beginning() -> None:
    plan = footprint("accumulated")
    count = plan.training_count(MemoryPolicy())
    assert min(use.gradients for use in count.uses) > 0.99 * count.weights


@pytest.mark.slow
def test_seconds_are_of_the_order_of_a_real_step(allocator_peak: type) -> None:
    """Twice or half at most; on a quiet machine it is far closer."""
    config = recipe(sized(channels=16, pools=2)), Size(4, (192, 160), (160, 160))
    plan = footprint_of(*config, "cpu", lambda text: None)
    count = plan.training_count(MemoryPolicy())
    truth = Truth(*config, allocator_peak)
    batch = truth.batch(1)
    step = lambda: learn_once(truth.network, batch, truth.recipe, CPU)  # noqa: E731
    step()
    # interleaved with the truth, so that both see the same neighbours
    real = fastest(step, CPU, enough=1.0, most=5)
    plan.measure([count], lambda total: lambda done: None)
    real = min(real, fastest(step, CPU, enough=1.0, most=5))
    seconds = plan.forecast(count).seconds
    assert seconds is not None
    assert 0.5 < seconds / real < 2
