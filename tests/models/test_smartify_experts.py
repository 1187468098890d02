"""sMaRtIfy's file of eight networks: each under four names, and read once."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dealias.errors import CheckpointError
from dealias.inference.bundle import load_model
from dealias.inference.importing import import_model
from dealias.models.mixture import Experts, ExpertsSettings
from dealias.models.promptmr_plus import PromptMRPlusSettings
from dealias.models.published.promptmr import SMARTIFY
from dealias.models.published.smartify_experts import CELLS, SMARTIFY_EXPERTS, TEAMS
from dealias.models.published.table import PUBLISHED
from dealias.models.table import build_network
from models.test_promptmr_published import SMALL, keys, smartifys
from shared import same

FINAL: Any = ExpertsSettings().members["brain-x4"]
SETTINGS = PromptMRPlusSettings(**SMALL, slices=1, history=1)
NAMES = [f"{team}-{cell.replace('acc', 'x').replace('_', '-')}" for team in TEAMS for cell in CELLS]


def places(team: int, cell: int) -> list[str]:
    """Where an expert stands in the collected file."""
    return [
        f"{outer}.{inner}."
        for outer in (TEAMS[team], f"broker_friends.{team}")
        for inner in (CELLS[cell], f"experts.{cell}")
    ]


def collected(settings: PromptMRPlusSettings) -> list[str]:
    found = smartifys(keys(settings))
    return [
        place + key
        for team in range(2)
        for cell in range(4)
        for place in places(team, cell)
        for key in found
    ]


def test_keys_are_those_that_their_code_printed() -> None:
    found = collected(FINAL)
    assert len(found) == len(set(found)) == 52_576
    digest = hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()
    assert digest[:16] == "f6c615892ee6723e"


@functools.cache
def state() -> dict[str, Tensor]:
    """A small file, weights by seeds: of one expert after the other, the activation of the last."""
    found = smartifys(keys(SETTINGS))
    state = {}
    for number in range(8):
        torch.manual_seed(number)
        ours = build_network(SETTINGS).state_dict()
        ours["activation.weight"].fill_(0.07)
        for key in found:
            name = SMARTIFY.rename(key)
            for place in places(*divmod(number, 4)):
                state[place + key] = torch.ones(1) if name is None else ours[name]
    return state


def test_all_of_it_is_read() -> None:
    settings = SMARTIFY_EXPERTS.settings({key: one.shape for key, one in state().items()})
    network = build_network(settings)  # type: ignore[arg-type]
    network.load_state_dict(SMARTIFY_EXPERTS.convert(state()))
    assert isinstance(network, Experts)
    assert network.routes == NAMES
    for number, member in enumerate(network.members.values()):
        torch.manual_seed(number)
        wanted: dict[str, Tensor] = dict(build_network(SETTINGS).state_dict())
        wanted["activation.weight"].fill_(0.07)
        assert same(dict(member.state_dict()), wanted)


def test_a_file_of_it_becomes_a_model(tmp_path: Path) -> None:
    torch.save({"model": state()}, tmp_path / "best_model.pt")
    found = import_model(tmp_path / "best_model.pt", tmp_path / "out")
    assert found.kind is SMARTIFY_EXPERTS
    assert set(getattr(found.settings, "members")) == set(NAMES)  # noqa: B009
    assert {key.split(".")[-1] for key in found.dropped} == {"_dummy_tensor"}
    network = load_model(tmp_path / "out").reconstructor
    assert isinstance(network, Experts)
    assert set(network.routes) == set(NAMES)
    assert same(dict(network.state_dict()), SMARTIFY_EXPERTS.convert(state()))


def test_no_other_kind_has_such_keys() -> None:
    fitting = [
        kind.name
        for kind in PUBLISHED
        if all(any(re.fullmatch(one, key) for key in state()) for one in kind.signature)
    ]
    assert fitting == ["smartify-experts"]


@pytest.mark.parametrize("key", ["broker.seed", "hacker.brain_acc2.cascades.0.dc_weight", "x"])
def test_keys_of_no_expert_are_refused(key: str) -> None:
    with pytest.raises(CheckpointError, match="a key of no expert"):
        SMARTIFY_EXPERTS.convert({**state(), key: torch.ones(1)})


@pytest.mark.parametrize("place", places(1, 2)[1:])
def test_an_experts_four_copies_must_be_one(place: str) -> None:
    key = f"{place}cascades.1.dc_weight"
    with pytest.raises(CheckpointError, match="twins"):
        SMARTIFY_EXPERTS.convert({**state(), key: state()[key] + 1})
