"""The plan: what it chooses, what it says of a device that is not here, and what it never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.remask import MaskSettings
from dealias.engine.count import Count
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.runs.footprint import Footprint
from dealias.runs.plan import as_overrides, choose_policy, make_plan
from dealias.runs.schedule import Schedule
from dealias.runs.size import Size, size_of_text
from dealias.training.settings import TrainingSettings

SMALL = VarNetSettings(cascades=2, channels=8, pools=1, sens_channels=6, sens_pools=1)
SIZE = Size(6, (64, 48), (48, 48), slices=100, val_slices=10)
CPU = torch.device("cpu")


def recipe(network: Any = SMALL, **memory: Any) -> Recipe:
    masks = MaskSettings(kind="snu")
    return Recipe(name="small", network=network, masks=masks, memory=MemoryPolicy(**memory))


KNOWN: dict[tuple[str, ...], Count] = {}


@pytest.fixture
def counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has counted, the others need not count again."""
    plain = Footprint.training_count

    def count(self: Footprint, policy: MemoryPolicy) -> Count:
        key = (self.recipe.network.model_dump_json(), str(self.size),
               policy.model_dump_json(exclude={"budget"}))  # fmt: skip
        if key not in KNOWN:
            KNOWN[key] = plain(self, policy)
        return KNOWN[key]

    monkeypatch.setattr(Footprint, "training_count", count)


class OnMetaAlone(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails at the first convolution of real numbers."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "convolution" in str(func) and not args[0].is_meta:
            raise AssertionError("a real convolution")
        return func(*args, **(kwargs or {}))


def test_the_network_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all operations measured, nothing real is left to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    small = recipe(SMALL.model_copy(update={"cascades": 1, "channels": 2}))
    size = Size(2, (32, 24), (24, 24))
    with pytest.raises(AssertionError, match="a real convolution"), OnMetaAlone():
        make_plan(small, size, "cpu", 1 << 33)
    before = make_plan(small, size, "cpu", 1 << 33)
    with OnMetaAlone():
        assert make_plan(small, size, "cpu", 1 << 33) == before


def test_the_network_is_never_called_on_real_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured or not: single operations run, the network does not."""
    from dealias.models.varnet import VarNet

    seen: list[bool] = []
    plain = VarNet.forward

    def forward(self: Any, measurement: Any) -> Any:
        seen.append(measurement.kspace_BSCHW.is_meta)
        return plain(self, measurement)

    monkeypatch.setattr(VarNet, "forward", forward)
    make_plan(recipe(), Size(5, (48, 48), (48, 48)), "cpu", 1 << 33)
    assert len(seen) > 5
    assert all(seen)


def test_the_fastest_that_fits_is_chosen(counted_once: None) -> None:
    plan = make_plan(recipe(), SIZE, "cpu", 1 << 33)
    assert plan.chosen is not None
    fast = min(need.seconds or 0 for need in plan.needs)
    assert plan.chosen.seconds == fast
    sizes = sorted(need.total for need in plan.needs)
    for budget in (sizes[0], sizes[len(sizes) // 2]):
        chosen = make_plan(recipe(), SIZE, "cpu", budget).chosen
        assert chosen is not None
        assert chosen.total <= budget
        fitting = [need.seconds or 0 for need in plan.needs if need.total <= budget]
        assert chosen.seconds == min(fitting)


def test_policies_without_sense_are_left_out(counted_once: None) -> None:
    plan = make_plan(recipe(), SIZE, "cpu", 1 << 33)
    kinds = {(need.policy.cascades, need.policy.blocks, need.policy.coils) for need in plan.needs}
    assert ("keep", "keep", None) in kinds
    assert ("recompute", "recompute", 4) in kinds
    assert ("keep_convolutions", "recompute", None) not in kinds
    alone = make_plan(recipe(UnetSettings(channels=4, pools=2)), SIZE, "cpu", 1 << 33)
    assert {need.policy.cascades for need in alone.needs} == {"keep"}
    assert {need.policy.coils for need in alone.needs} == {None}


def test_single_coils_come_last(counted_once: None) -> None:
    plan = make_plan(recipe(), SIZE, "cpu", 1 << 33)
    assert 1 not in {need.policy.coils for need in plan.needs}
    least = min(need.total for need in plan.needs)
    lean = make_plan(recipe(), SIZE, "cpu", least - 1)
    assert 1 in {need.policy.coils for need in lean.needs}


def test_where_nothing_fits_the_largest_network_is_found(counted_once: None) -> None:
    least = min(need.total for need in make_plan(recipe(), SIZE, "cpu", 1).needs)
    budget = int(0.9 * least)
    plan = make_plan(recipe(), SIZE, "cpu", budget)
    assert plan.smaller is not None
    assert plan.chosen is not None
    assert plan.chosen.total <= budget
    assert plan.smaller["cascades"] <= 2
    assert plan.smaller["channels"] <= 8
    assert plan.smaller != {"cascades": 2, "channels": 8}
    again = load_recipe("varnet", [
        "network.pools=1", "network.sens_channels=6", "network.sens_pools=1",
        "network.readout_crop=null", *plan.overrides])  # fmt: skip
    own = make_plan(again, SIZE, "cpu").chosen
    assert own is not None
    assert own.training.peak == plan.chosen.training.peak


def test_nothing_at_all_fits(counted_once: None) -> None:
    plan = make_plan(recipe(), SIZE, "cpu", 1000)
    assert plan.chosen is None
    assert plan.overrides == []
    with pytest.raises(SettingsError, match=r"memory.budget: found 1KiB.*at the leanest policy"):
        choose_policy(recipe(budget="1KiB"), SIZE, CPU)


def test_a_device_that_is_not_here_gets_margins_and_no_time(counted_once: None) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    plan, here = (make_plan(recipe(), SIZE, device, 1 << 33) for device in ("cuda", "cpu"))
    assert plan.chosen is not None
    assert here.chosen is not None
    assert plan.chosen.seconds is None
    assert plan.chosen.training.unmeasured > 0
    assert plan.chosen.context > 0
    assert plan.needs[0].training.peak >= here.needs[0].training.peak
    assert plan.schedule.total is None


def test_what_is_typed_is_what_was_meant() -> None:
    policy = MemoryPolicy(cascades="recompute", coils=4, offload=("boundaries",))
    assert load_recipe("varnet", as_overrides(policy)).memory == policy
    assert load_recipe("varnet", as_overrides(MemoryPolicy())).memory == MemoryPolicy()


def test_times_add_up() -> None:
    training = TrainingSettings(epochs=5, batch_size=2, accumulation=3, validate_every=2)
    schedule = Schedule.of(training, SIZE, 10.0, 1.0)
    assert schedule.steps == 17
    assert schedule.epoch == 17 * 10 + 10 / 2
    assert schedule.total == 5 * 175
    assert schedule.epochs_in(1) == 86400 // 175
    assert Schedule.of(training, Size(1, (8, 8), (8, 8)), 10.0, 1.0).epochs_in(1) is None


@pytest.mark.parametrize("shape", ["640x368", "16x640xW", "0x640x368", ""])
def test_a_shape_that_is_none(shape: str) -> None:
    with pytest.raises(SettingsError, match="--shape"):
        size_of_text(shape, None, None, MaskSettings())


def test_masks_over_both_axes_are_recognised() -> None:
    assert size_of_text("4x64x48", None, None, MaskSettings(kind="poisson_disc")).two_axes
    assert not size_of_text("4x64x48", None, None, MaskSettings(kind="snu")).two_axes
