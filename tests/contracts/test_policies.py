"""What every memory policy must do to every network of the table, in float64: nothing but save."""

from __future__ import annotations

import copy
import functools
import gc
import itertools

import pytest
import torch

from dealias.engine.offload import Boundaries
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import borders, set_precision
from dealias.errors import SettingsError
from dealias.models.network import Network, NetworkEntry, Unit, plain
from dealias.models.table import NETWORKS
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure
from shared import maps_for, reached, routed

KEEP = MemoryPolicy()
COILS = 5


def policies() -> list[MemoryPolicy]:
    """Every policy that its settings allow."""
    ways = ("keep", "keep_convolutions", "recompute")
    found = []
    for cascades, blocks, coils, offload in itertools.product(
        ways, ways, (None, 3), ((), ("boundaries",))
    ):
        values = {"cascades": cascades, "blocks": blocks, "coils": coils, "offload": offload}
        try:
            found.append(MemoryPolicy.model_validate(values))
        except ValueError:
            continue
    return found


POLICIES = policies()


@functools.cache
def on_meta(name: str) -> Network:
    """For questions alone, which each worker asks for hundreds of tests."""
    with torch.device("meta"):
        return NETWORKS[name].build(NETWORKS[name].tiny)


def suits(policy: MemoryPolicy, entry: NetworkEntry) -> bool:
    try:
        policy.apply(on_meta(entry.name))
    except SettingsError:
        return False
    return True


PAIRS = [(entry, policy) for entry in NETWORKS for policy in POLICIES if suits(policy, entry)]


def named(one: NetworkEntry | MemoryPolicy) -> str:
    if isinstance(one, NetworkEntry):
        return one.name
    return "-".join(str(value) for value in (one.cascades, one.blocks, one.coils, *one.offload))


# what a policy does with runners does not depend on the network: one with all policies, and each
# with enough that every two settings of a policy come together, or with those that set the most
TOGETHER = [
    MemoryPolicy(coils=3),
    MemoryPolicy(blocks="keep_convolutions"),
    MemoryPolicy(blocks="recompute"),
    MemoryPolicy(blocks="recompute", coils=3),
    MemoryPolicy(cascades="keep_convolutions", coils=3),
    MemoryPolicy(cascades="keep_convolutions"),
    MemoryPolicy(cascades="recompute", offload=("boundaries",)),
    MemoryPolicy(cascades="recompute", coils=3),
    MemoryPolicy(cascades="recompute", blocks="recompute"),
    MemoryPolicy(cascades="recompute", blocks="recompute", coils=3, offload=("boundaries",)),
]
THOROUGH = [TOGETHER[-1], TOGETHER[4], TOGETHER[2]]


def with_all_for_one(chosen: list[MemoryPolicy]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("entry", "policy"),
        [(one, policy) for one, policy in PAIRS if one.name == "varnet" or policy in chosen],
        ids=named,
    )


every_two_settings = with_all_for_one(TOGETHER)
some_pairs = with_all_for_one(THOROUGH)


def leanest(entry: NetworkEntry) -> MemoryPolicy:
    """Of those that set the most, the first that suits a network."""
    suiting = [policy for one, policy in PAIRS if one is entry]
    return next((policy for policy in THOROUGH if policy in suiting), suiting[-1])


one_of_each = pytest.mark.parametrize(
    ("entry", "policy"),
    [(one, policy) for one, policy in PAIRS if policy == leanest(one)],
    ids=named,
)


@pytest.fixture(autouse=True)
def parked_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU nothing need be copied to park it: here it is, so that the copies are tested."""
    monkeypatch.setattr("dealias.engine.offload.to_host", torch.clone)


def build(entry: NetworkEntry, policy: MemoryPolicy = KEEP) -> Network:
    changes = {"dropout": 0.3} if "dropout" in entry.settings.model_fields else {}
    torch.manual_seed(0)
    network = entry.build(entry.tiny.model_copy(update=changes)).double()
    policy.apply(network)
    return network


def kspace(slices: int, device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(2, slices, COILS, 16, 20, dtype=torch.complex128, generator=generator)
    return (y + 2).to(device)


def image_of(network: Network, device: str = "cpu") -> torch.Tensor:
    y = kspace(network.needs.slices, device)
    masks = [snu_mask(20, 4)] * 2
    maps = maps_for(network.needs, y, masks)
    m = routed(network, measure(y, masks, (16, 20), network.needs, maps))
    torch.manual_seed(7)
    return m.window(network(m).image_BHW)


def results(network: Network) -> list[torch.Tensor]:
    """The image and all gradients."""
    network.zero_grad()
    image = image_of(network)
    image.square().mean().backward()
    gradients = {name: p.grad for name, p in reached(network).items()}
    assert all(gradient is not None for gradient in gradients.values()), gradients
    return [image.detach(), *(g for g in gradients.values() if g is not None)]


@functools.cache
def plain_results(name: str) -> list[torch.Tensor]:
    return results(build(NETWORKS[name]))


def off(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    """Largest relative difference; a gradient of almost zero counts beside the largest one."""
    norms = [float(torch.linalg.norm(b)) for b in wanted]
    return max(
        float(torch.linalg.norm(a - b)) / max(norm, 1e-3 * max(norms[1:]))
        for a, b, norm in zip(found, wanted, norms, strict=True)
    )


def test_each_network_has_policies() -> None:
    counts = {entry.name: sum(one is entry for one, _ in PAIRS) for entry in NETWORKS}
    assert counts["varnet"] == len(POLICIES) == 15
    assert counts["unet"] == 3  # it has blocks alone
    assert min(counts.values()) >= 3


@every_two_settings
def test_images_and_gradients_are_the_plain_ones(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    wanted, found = plain_results(entry.name), results(build(entry, policy))
    if policy.coils is None:
        # the very same kernels on the very same numbers, dropout included
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert off(found, wanted) < 1e-10


@functools.cache
def kept_in_half(name: str, coils: int | None) -> list[torch.Tensor]:
    """In bf16, nothing recomputed; chunks of coils stay, as they are rounded differently."""
    network = build(NETWORKS[name], MemoryPolicy(coils=coils))
    set_precision(network, "bf16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dealias.engine.recompute.recompute", plain)
        return results(network)


@pytest.mark.parametrize(
    ("entry", "policy"),
    [pair for pair in one_of_each.args[1] if borders(on_meta(pair[0].name))],
    ids=named,
)
def test_in_half_precision_too(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    network = build(entry, policy)
    set_precision(network, "bf16")
    found, wanted = results(network), kept_in_half(entry.name, policy.coils)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert off(found, plain_results(entry.name)) > 1e-4  # it was in half precision
    assert all(one.dtype == torch.float64 for one in found)


@some_pairs
def test_parameters_keep_their_names(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    plain, network = build(entry).state_dict(), build(entry, policy).state_dict()
    assert list(plain) == list(network)
    build(entry, policy).load_state_dict(plain)


@one_of_each
def test_a_copy_keeps_its_policy_and_is_its_own(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    network = build(entry, policy)
    twin = copy.deepcopy(network)
    before = results(twin)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    after = results(twin)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert runners(twin) == runners(network)
    assert off(after, plain_results(entry.name)) < 1e-10


def runners(network: Network) -> list[tuple[str, int | None]]:
    """Kind of each unit's runner, and its size if it has one."""
    found = [unit.runner for unit in network.modules() if isinstance(unit, Unit)]
    return [
        (getattr(one, "__name__", type(one).__name__), getattr(one, "size", None)) for one in found
    ]


@functools.cache
def fresh_runners(name: str, policy: MemoryPolicy) -> list[tuple[str, int | None]]:
    return runners(build(NETWORKS[name], policy))


@one_of_each
def test_another_policy_replaces_it_wholly(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    network = build(entry, policy)
    KEEP.apply(network)
    assert set(runners(network)) == {("plain", None)}
    for _, other in [pair for pair in PAIRS if pair[0] is entry]:
        policy.apply(network)
        other.apply(network)
        assert runners(network) == fresh_runners(entry.name, other)


@one_of_each
def test_networks_of_one_process_share_nothing(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    other, network = build(entry), build(entry, policy)
    assert set(runners(other)) == {("plain", None)}
    plain, wanted = plain_results(entry.name), results(build(entry, policy))
    # forward passes and backward passes of the two are interleaved
    images = [image_of(one) for one in (network, other)]
    for image in images:
        image.square().mean().backward()
    for one, image, expected in zip((network, other), images, (wanted, plain), strict=True):
        found = [image.detach(), *(p.grad for p in one.parameters() if p.grad is not None)]
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@one_of_each
def test_without_gradients_it_just_runs(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    network = build(entry, policy).eval()
    image, plain = image_of(network).detach(), image_of(build(entry).eval()).detach()
    for guard in (torch.no_grad, torch.inference_mode):
        with guard():
            assert torch.equal(image_of(network), image)
    assert off([image] * 2, [plain] * 2) < 1e-10


@pytest.mark.parametrize("policy", THOROUGH, ids=named)
def test_it_runs_on_meta(policy: MemoryPolicy) -> None:
    with torch.device("meta"):
        network = NETWORKS["varnet"].build(NETWORKS["varnet"].tiny).double()
    policy.apply(network)
    image = image_of(network, "meta")
    image.square().mean().backward()
    assert all(parameter.grad is not None for parameter in reached(network).values())


@one_of_each
def test_nothing_stays_after_the_backward_pass(entry: NetworkEntry, policy: MemoryPolicy) -> None:
    network = build(entry, policy)
    results(network)
    gc.collect()
    gc.freeze()  # what is there now is looked at no more
    try:
        network.zero_grad()
        image_of(network).square().mean().backward()
        gc.collect()
        new = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    finally:
        gc.unfreeze()
    gradients = [id(parameter.grad) for parameter in network.parameters()]
    assert all(id(one) in gradients for one in new)
    for unit in network.modules():
        if isinstance(runner := getattr(unit, "runner", None), Boundaries):
            assert not len(runner._parked)
