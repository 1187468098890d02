"""Two ranks do what one rank does with twice the accumulation: float64, every step."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.engine.ranks import ALONE, Ranks
from dealias.training.dealing import deal

pytestmark = pytest.mark.subprocess
CASES: dict[str, dict[str, Any]] = {
    "one batch each, none for one rank at the end": {"accumulation": 1, "network": "varnet"},
    "batches of unequal size, recomputed": {
        "accumulation": 1, "network": "varnet", "batch_size": 2,
        "policy": {"cascades": "recompute", "coils": 1},
    },
    "dropout, and a last step of three batches": {"accumulation": 2, "network": "unet"},
    "a loss scaler, and a slice that is not finite": {
        "accumulation": 1, "network": "varnet", "fp16": True, "poison": 3,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def steps() -> Callable[..., list[dict[str, Any]]]:
    """The function that the ranks run, to run it alone."""
    return runpy.run_path(str(Path(__file__).with_name("work.py")))["steps"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_twice_the_accumulation(
    case: str, steps: Callable[..., list[dict[str, Any]]], work: Callable[..., Any]
) -> None:
    settings = {"policy": {}, **CASES[case]}
    both = work("steps", **settings)
    alone = steps(ALONE, **{**settings, "accumulation": 2 * settings["accumulation"]})
    assert both.wait() == [0, 0], both.err
    assert {one["applied"] for one in alone} == ({True, False} if "poison" in settings else {True})
    for found in both.results:
        assert len(found) == len(alone)
        for step, expected in zip(found, alone, strict=True):
            for key in ("names", "applied", "scale"):
                assert step[key] == expected[key]
            close(torch.tensor(step["losses"]), torch.tensor(expected["losses"]))
            for name, value in expected["weights"].items():
                close(step["weights"][name], value)
            for name, value in expected["gradients"].items():
                assert (step["gradients"][name] is None) == (value is None), name
                if value is not None:
                    close(step["gradients"][name], value)
    first, last = alone[0]["weights"], alone[-1]["weights"]
    assert torch.equal(last["idle"], torch.ones(3, dtype=torch.float64))  # no gradient, no decay
    assert not torch.equal(first["some"], last["some"])


def test_two_ranks_train_a_classifier_as_one_does(work: Callable[..., Any]) -> None:
    """Its running means as well, which gradients know nothing of."""
    anatomy = runpy.run_path(str(Path(__file__).with_name("work.py")))["anatomy"]
    both, alone = work("anatomy", accumulation=1), anatomy(ALONE, 2)
    assert both.wait() == [0, 0], both.err
    for found in both.results:
        assert len(found) == len(alone) == 2
        for step, expected in zip(found, alone, strict=True):
            close(torch.tensor(step["losses"]), torch.tensor(expected["losses"]))
            for name, value in expected["state"].items():
                close(step["state"][name].double(), value.double())
    assert int(alone[-1]["state"]["network.bn1.num_batches_tracked"]) == 4
    for name in alone[0]["state"]:
        assert torch.equal(*(one[-1]["state"][name] for one in both.results)), name


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    scale = float(expected.nan_to_num().abs().max())
    assert torch.equal(found.isnan(), expected.isnan())
    assert float((found - expected).nan_to_num().abs().max()) <= 1e-10 * scale


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_every_batch_is_dealt_once_in_order(size: int, accumulation: int) -> None:
    groups = [(index,) for index in range(23)]
    dealt = [deal(groups, 4, accumulation, Ranks(rank, size)) for rank in range(size)]
    assert len({len(turns) for turns in dealt}) == 1
    steps = list(zip(*dealt, strict=True))
    assert [one for turns in steps for turn in turns for one in turn.mine] == groups[4:]
    for turns in steps[:-1]:
        assert {len(turn.mine) for turn in turns} == {accumulation}
    last = [len(turn.mine) for turn in steps[-1]]
    assert max(last) - min(last) <= 1


def test_dear_items_are_spread_over_ranks() -> None:
    costs = [7, 1, 1, 5, 2, 6, 1, 1]
    parts = [Ranks(rank, 3).deal(costs) for rank in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(len(costs)))
    assert {sum(costs[index] for index in part) for part in parts} == {8}
    assert ALONE.deal(costs) == list(range(len(costs)))
