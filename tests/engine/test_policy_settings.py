"""Policies that cannot work are refused with the reason in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dealias.config.compose import load_recipe
from dealias.config.validate import checked
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.models.table import NETWORKS

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cascades": "keep_convolutions", "blocks": "recompute"},
         r"blocks: found 'recompute'; expected keep: this would compute again"),
        ({"cascades": "keep_convolutions", "blocks": "keep_convolutions"},
         r"blocks: found 'keep_convolutions'; expected keep: .*keep them twice"),
        ({"cascades": "recompute", "blocks": "keep_convolutions"},
         r"blocks: found 'keep_convolutions'; expected keep or recompute: this would keep"),
        ({"blocks": "keep_convolutions", "coils": 4}, r"coils: found 4; expected null: "),
        ({"offload": ["boundaries"]}, r"offload: .*cascades=recompute"),
        ({"cascades": "keep_convolutions", "offload": ["boundaries"]}, r"offload: .*recompute"),
        ({"offload": ["weights"]}, r"offload.0: found 'weights'"),
        ({"coils": 0}, r"coils: found 0"),
        ({"budget": "plenty"}, r"memory.budget: found 'plenty'"),
        ({"cascade": "keep"}, r"cascade: found an unknown key.*cascades"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        checked(MemoryPolicy, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"coils": 4}, "memory.coils: found 4 for ImageUnet.*set memory.coils=null"),
        ({"cascades": "recompute"}, "memory.cascades: .*no Cascade.*set memory.cascades=keep"),
    ],
)
def test_what_a_network_cannot_do_is_refused(values: dict[str, Any], said: str) -> None:
    entry = NETWORKS["unet"]
    network = entry.build(entry.tiny)
    with pytest.raises(SettingsError, match=said):
        MemoryPolicy.model_validate(values).apply(network)


def test_a_recipe_takes_all_of_it() -> None:
    changes = ["memory.cascades=recompute", "memory.offload=[boundaries,optimiser]"]
    recipe = load_recipe("varnet", [*changes, "memory.budget=8GiB"])
    assert recipe.memory.offload == ("boundaries", "optimiser")
    assert recipe.memory.budget == "8GiB"


def test_a_cpu_leaves_parking_out_and_says_so() -> None:
    said: list[str] = []
    policy = MemoryPolicy(cascades="recompute", offload=("boundaries", "optimiser"))
    assert policy.on(CPU, said.append) == MemoryPolicy(cascades="recompute")
    assert said == ["memory.offload=boundaries,optimiser does nothing on a CPU: all is there "
                    "already"]  # fmt: skip
    assert policy.on(CUDA, said.append) == policy
    assert MemoryPolicy(coils=2).on(CPU, said.append) == MemoryPolicy(coils=2)
    assert len(said) == 1


def test_policies_explain_themselves() -> None:
    assert MemoryPolicy().explain() == "cascades kept, blocks kept, all coils at once"
    lean = MemoryPolicy(cascades="recompute", blocks="recompute", coils=1, offload=("optimiser",))
    said = lean.explain()
    for part in ("cascades recomputed", "blocks recomputed", "1 coil at a time", "optimiser park"):
        assert part in said
    assert "\n" not in said
