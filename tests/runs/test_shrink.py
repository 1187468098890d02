"""The largest network that fits: against all that could be tried, and how little is tried."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from dealias.config.schema import Recipe
from dealias.data.remask import MaskSettings
from dealias.engine.count import Count
from dealias.engine.policies import MemoryPolicy
from dealias.models.network import NetworkSettings
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.runs.footprint import Footprint, Need
from dealias.runs.shrink import SHARES, Shrinking
from dealias.runs.size import Size

CASCADES, CHANNELS = 5, 8
VARNET = VarNetSettings(
    cascades=CASCADES, channels=CHANNELS, pools=1, sens_channels=2, sens_pools=1
)
LEAN = MemoryPolicy(cascades="recompute")
WIDTHS = list(dict.fromkeys(max(1, int(share * CHANNELS)) for share in SHARES))
Grid = dict[tuple[int, int], tuple[int, int]]


class Logged(Footprint):
    """Remembers what was counted, here and in all that were resized from it."""

    log: list[dict[str, int]]
    known: dict[tuple[int, ...], Count]

    def resized(self, sizes: dict[str, int]) -> Logged:
        other = logged(super().resized(sizes).recipe.network, self.known)
        other.log = self.log
        return other

    def training_count(self, policy: MemoryPolicy) -> Count:
        key = tuple(self.sizes().values())
        self.log.append(self.sizes())
        if key not in self.known:
            self.known[key] = super().training_count(policy)
        return self.known[key]


def logged(network: NetworkSettings, known: dict[tuple[int, ...], Count]) -> Logged:
    settings: Any = network
    recipe = Recipe(name="small", network=settings, masks=MaskSettings(kind="snu"))
    made = Logged(recipe, Size(2, (192, 96), (96, 96)), "cpu", None, None)
    made.log, made.known = [], known
    return made


@pytest.fixture(scope="module")
def known() -> dict[tuple[int, ...], Count]:
    """Counts of this file's networks, made once."""
    return {}


@pytest.fixture(scope="module")
def everything(known: dict[tuple[int, ...], Count]) -> Grid:
    """(channels, cascades) to (weights, bytes needed) of all that could be tried."""
    whole = logged(VARNET, known)
    found = {}
    for width, depth in itertools.product(WIDTHS, range(1, CASCADES + 1)):
        need = whole.resized({"channels": width, "cascades": depth}).need(LEAN)
        found[width, depth] = need.training.weights, need.total
    return found


def test_it_is_the_one_with_most_weights_of_all_that_fit(
    everything: Grid, known: dict[tuple[int, ...], Count]
) -> None:
    totals = sorted({total for _, total in everything.values()})
    for budget in [totals[0] - 1, *totals[:-1:2], *(total - 1 for total in totals[1::2])]:
        whole = logged(VARNET, known)
        best = Shrinking(whole, LEAN).largest(budget)
        fitting = [weights for weights, total in everything.values() if total <= budget]
        if not fitting:
            assert best is None
            continue
        assert best is not None
        assert best.need.total <= budget
        assert best.need.training.weights == max(fitting)
        assert len(whole.log) <= 12, (budget, whole.log)


def test_nothing_is_counted_twice_when_the_budget_falls(
    everything: Grid, known: dict[tuple[int, ...], Count]
) -> None:
    whole = logged(VARNET, known)
    shrinking = Shrinking(whole, LEAN)
    highest = max(total for _, total in everything.values())
    for share in (0.9, 0.8, 0.7, 0.6):
        found = shrinking.largest(int(share * highest))
        assert found is not None
        shrinking.measured(found.sizes, lambda total: lambda done: None)
    assert len(whole.log) == len({tuple(one.items()) for one in whole.log})


def test_what_is_measured_meanwhile_counts(
    everything: Grid, known: dict[tuple[int, ...], Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that fitted by a stated margin is given up once it is known to need more."""
    shrinking = Shrinking(logged(VARNET, known), LEAN)
    budget = everything[8, 3][1]
    before = shrinking.largest(budget)
    assert before is not None
    plain = Logged.need

    def need(self: Logged, policy: MemoryPolicy, count: Count | None = None) -> Need:
        found = plain(self, policy, count)
        return replace(found, average=1 << 40) if self.sizes() == before.sizes else found

    monkeypatch.setattr(Logged, "need", need)
    after = shrinking.largest(budget)
    assert after is not None
    assert after.need.total <= budget
    assert after.need.training.weights < before.need.training.weights


def test_a_network_without_cascades_is_made_narrower() -> None:
    whole = logged(UnetSettings(channels=8, pools=1), {})
    policy = MemoryPolicy()
    wanted = whole.resized({"channels": 3}).need(policy).total
    found = Shrinking(whole, policy).largest(wanted)
    assert found is not None
    assert found.sizes == {"channels": 3}
