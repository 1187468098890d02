"""torch.compile: one graph for all cascades, the same numbers, and an end to compiling."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dealias.config.compose import load_recipe
from dealias.engine.compiled import MOST, Compiled, compile_denoisers, refuse_compile
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import borders, set_precision
from dealias.errors import SettingsError
from dealias.models.network import Network, NetworkEntry
from dealias.models.table import NETWORKS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.runs.plan import footprint_of
from dealias.runs.search import candidates
from dealias.runs.size import Size
from dealias.scan.measurement import measure
from shared import maps_for, routed

CPU, KEEP = torch.device("cpu"), MemoryPolicy()
TINY = VarNetSettings(cascades=12, channels=2, pools=1, sens_channels=2, sens_pools=1)
TWO = TINY.model_copy(update={"cascades": 2})
COILS = 3
# torch's own, while it traces
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the code generator: torch's graphs are run as they were traced."""
    monkeypatch.setattr("dealias.engine.compiled.BACKEND", "aot_eager")


class Told(list[str]):
    """What a user would be told."""

    def graphs(self) -> int:
        return sum("compiled the denoiser" in text for text in self)


def varnet(settings: VarNetSettings = TWO, policy: MemoryPolicy = KEEP) -> VarNet:
    torch.manual_seed(0)
    network = VarNet(settings).double()
    policy.apply(network)
    return network


def compiled(network: Network, told: Told | None = None) -> Network:
    told = Told() if told is None else told
    compile_denoisers(network, CPU, told.append, told.append)
    return network


def image_of(network: Network, hw: tuple[int, int] = (16, 20)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (1, network.needs.slices, COILS, *hw)
    y = torch.randn(shape, dtype=torch.complex128, generator=generator) + 2
    masks = [snu_mask(hw[1], 4)]
    m = measure(y, masks, hw, network.needs, maps_for(network.needs, y, masks))
    image: Tensor = network(routed(network, m)).image_BHW
    return image


def results(network: Network) -> list[Tensor]:
    """The image and all gradients."""
    network.zero_grad()
    image = image_of(network)
    image.square().mean().backward()
    return [image.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def off(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest relative difference; a gradient of almost zero counts beside the largest one."""
    norms = [float(torch.linalg.norm(b)) for b in wanted]
    return max(
        float(torch.linalg.norm(a - b)) / max(norm, 1e-3 * max(norms[1:]))
        for a, b, norm in zip(found, wanted, norms, strict=True)
    )


def test_twelve_cascades_are_one_graph(traced: None) -> None:
    told = Told()
    network = compiled(varnet(TINY), told)
    torch._dynamo.utils.counters.clear()
    found = results(network)
    # the cascades' and, as it sees all coils at once, the sensitivity network's
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == told.graphs() == 2
    assert not torch._dynamo.utils.counters["graph_break"]
    assert off(found, results(varnet(TINY))) < 1e-10
    results(network)
    results(copy.deepcopy(network))
    assert told.graphs() == len(told) == 2


def test_many_sizes_do_not_compile_for_ever(traced: None) -> None:
    said, warned, seen = Told(), Told(), torch._dynamo.utils.counters["stats"]
    runner, layer = Compiled(said.append, warned.append), nn.Conv2d(2, 2, 3).double()
    for width in (*range(16, 16 * (MOST + 3), 16), 16):
        before = seen["unique_graphs"]
        x = torch.ones(1, 2, 8, width, dtype=torch.float64, requires_grad=True)
        assert torch.allclose(runner(layer, x), layer(x), rtol=1e-10)
    assert seen["unique_graphs"] == before
    assert len(said) == said.graphs() == runner.graphs == MOST
    (text,) = warned
    assert "other sizes run as is" in text


def test_without_gradients_nothing_is_compiled(traced: None) -> None:
    told = Told()
    network = compiled(varnet(), told).eval()
    with torch.no_grad():
        assert torch.equal(image_of(network), image_of(varnet().eval()))
    assert told == []


class Unruly(nn.Module):
    """What no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if bool(x.sum() > 0) else x


def test_what_torch_fails_to_compile_runs_and_one_line_says_so(traced: None) -> None:
    said, warned = Told(), Told()
    runner = Compiled(said.append, warned.append)
    for _ in range(2):
        x = torch.ones(3, requires_grad=True)
        assert torch.equal(runner(Unruly(), x), 2 * x)
    assert said == []
    (text,) = warned
    assert "does nothing: torch failed" in text and "\n" not in text


def test_an_error_of_compiled_code_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*tensors: Any) -> Tensor:
        raise MemoryError

    told = Told()
    runner = Compiled(told.append, told.append)
    monkeypatch.setattr(runner, "_run", no_memory)
    with pytest.raises(MemoryError):
        runner(nn.Identity(), torch.ones(3))
    assert told == []


def test_a_machine_without_a_compiler_trains_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    told = Told()
    network = compiled(varnet(), told)
    (text,) = told
    assert "training.compile=true does nothing here: no C++ compiler" in text
    assert off(results(network), results(varnet())) == 0


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("varnet", {"cascades": "keep_convolutions"}, "memory.cascades: .*set memory.cascades=rec"),
        ("varnet", {"blocks": "keep_convolutions"}, "memory.blocks: .*writes over"),
        ("unet", {}, "training.compile: found true for ImageUnet"),
    ],
)
def test_what_cannot_work_is_refused(name: str, changes: dict[str, Any], said: str) -> None:
    entry = NETWORKS[name]
    with torch.device("meta"):
        network = entry.build(entry.tiny)
    with pytest.raises(SettingsError, match=said) as caught:
        refuse_compile(network, MemoryPolicy(**changes))
    assert "\n" not in str(caught.value)


def test_a_budget_chooses_among_what_can_be_compiled() -> None:
    changes = ["training.compile=true", "network.cascades=1", "network.channels=2"]
    warned = Told()
    size = Size(4, (32, 32), (32, 32))
    plan = footprint_of(load_recipe("varnet", changes), size, "cuda", warned.append)
    ways = {way for one in candidates(plan, (None,)) for way in (one.cascades, one.blocks)}
    assert ways == {"keep", "recompute"}
    assert warned == ["the plan is of the network uncompiled; compiled it may take a little more "
                      "memory"]  # fmt: skip


WITH_BORDERS = [entry for entry in NETWORKS if borders(entry.build(entry.tiny))]
POLICIES = [
    KEEP,
    MemoryPolicy(cascades="recompute", blocks="recompute", coils=2),
    MemoryPolicy(cascades="recompute", offload=("boundaries",)),
    MemoryPolicy(blocks="recompute"),
]


def suits(policy: MemoryPolicy, entry: NetworkEntry) -> bool:
    try:
        policy.apply(entry.build(entry.tiny))
    except SettingsError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "policy"),
    [(entry, policy) for entry in WITH_BORDERS for policy in POLICIES if suits(policy, entry)],
    ids=lambda one: one.name if isinstance(one, NetworkEntry) else one.explain(),
)
def test_every_network_under_every_way(
    entry: NetworkEntry, policy: MemoryPolicy, traced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dealias.engine.offload.to_host", torch.clone)
    told, found = Told(), []
    for change in (lambda network: compiled(network, told), lambda network: network):
        torch.manual_seed(0)
        network = entry.build(entry.tiny).double()
        policy.apply(network)
        found.append(results(change(network)))
    assert off(*found) < 1e-10
    assert told.graphs() == len(told) >= min(2, len(borders(network))), told


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the code generator's own
def test_kept_convolutions_are_refused_for_a_reason() -> None:
    """Fails once torch has mended it: the refusal may go then."""
    network = compiled(varnet(TWO, MemoryPolicy(cascades="keep_convolutions")))
    assert off(results(network), results(varnet())) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_as_well(precision: str, traced: None) -> None:
    found = []
    for change in (compiled, lambda network: network):
        network = varnet()
        set_precision(network, precision)
        found.append(results(change(network)))
    assert off(*found) < 0.05
    assert found[0][1].dtype == torch.float64
    assert off(found[0], results(varnet())) > 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the code generator's own
@pytest.mark.parametrize("policy", [KEEP, MemoryPolicy(cascades="recompute")])
def test_generated_code_gives_the_same_numbers(policy: MemoryPolicy) -> None:
    """With the C++ compiler of this machine, which is needed: half a minute."""
    told = Told()
    network = compiled(varnet(TWO, policy), told)
    assert off(results(network), results(varnet())) < 1e-10
    assert told.graphs() == len(told) == 2, told
    assert len(borders(network)) == TWO.cascades + 1
