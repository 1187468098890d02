"""Experts and ensembles: nothing but their members, chosen or averaged."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dealias.errors import CheckpointError, SettingsError
from dealias.inference.bundle import load_model, save_model
from dealias.inference.verify import rebuild
from dealias.io.weights import read_safetensors
from dealias.models.mixture import (
    Ensemble,
    EnsembleSettings,
    Experts,
    ExpertsSettings,
    together,
)
from dealias.models.network import Network
from dealias.models.table import NETWORKS, build_network
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Estimate, Measurement, Needs, measure, residual
from shared import maps_for, same

VARNET: Any = NETWORKS["varnet"].tiny
DIRCN: Any = NETWORKS["dircn"].tiny


def built(settings: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build_network(settings).double().eval()


def experts(**members: Any) -> Any:
    return built(ExpertsSettings(members=members or {"a": VARNET, "b": VARNET, "c": DIRCN}))


def ensemble(*members: Any, weights: tuple[float, ...] | None = None) -> Any:
    return built(EnsembleSettings(members=members, weights=weights))


def measured(network: Network, route: str | None = None) -> Measurement:
    generator = torch.Generator().manual_seed(1)
    shape = (2, network.needs.slices, 3, 16, 20)
    y = torch.randn(shape, dtype=torch.complex128, generator=generator) + 2
    masks = [snu_mask(20, 4)] * 2
    m = measure(y, masks, (16, 20), network.needs, maps_for(network.needs, y, masks))
    return dataclasses.replace(m, route=route)


def equal(a: Estimate, b: Estimate) -> bool:
    return all(x is y or torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_the_routed_expert_alone_runs(name: str) -> None:
    network = experts()
    ran = []
    for one, member in network.members.items():
        member.register_forward_hook(lambda *_, one=one: ran.append(one))
    estimate = network(measured(network, name))
    assert ran == [name]
    assert equal(estimate, network.members[name](measured(network)))
    estimate.image_BHW.square().mean().backward()
    for key, parameter in network.named_parameters():
        assert (parameter.grad is not None) == key.startswith(f"members.{name}."), key


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (None, "route: found none; expected one of brain-x4, knee-x8"),
        ("", "route: found ''; expected one of brain-x4, knee-x8"),
        ("brain-x8", "route: found 'brain-x8'; expected one of brain-x4, knee-x8; did you mean"),
        ("keys", "route: found 'keys'; expected one of brain-x4, knee-x8"),
    ],
)
def test_another_route_is_refused(route: str | None, said: str) -> None:
    network = built(NETWORKS["experts"].tiny)
    assert network.routes == ["brain-x4", "knee-x8"]
    with pytest.raises(SettingsError) as caught:
        network(measured(network, route))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("settings", [VARNET, DIRCN, NETWORKS["unet"].tiny])
def test_an_ensemble_of_one_is_that_network(settings: Any) -> None:
    network = ensemble(settings)
    m = measured(network)
    image = network(m).image_BHW
    assert torch.equal(image, network.members[0](m).image_BHW)
    assert torch.equal(image, built(settings)(m).image_BHW)  # one draws as it does alone


def test_what_weighs_nothing_does_not_run() -> None:
    network = ensemble(VARNET, DIRCN, weights=(1, 0))
    network.members[1].register_forward_hook(lambda *_: pytest.fail("it ran"))
    m = measured(network)
    assert torch.equal(network(m).image_BHW, network.members[0](m).image_BHW)


@pytest.mark.parametrize("weights", [None, (0.5, 0.2, 0.3), (0, 0.25, 0.75)])
def test_the_average_is_the_average(weights: tuple[float, ...] | None) -> None:
    network = ensemble(VARNET, VARNET, DIRCN, weights=weights)
    m = measured(network)
    images = torch.stack([member(m).image_BHW for member in network.members])
    assert (images[0] - images[1]).abs().max() > 1e-3 * images[0].max()
    plain = torch.tensordot(torch.tensor(weights or [1 / 3] * 3).double(), images, dims=1)
    estimate = network(m)
    torch.testing.assert_close(estimate.image_BHW, plain, rtol=1e-7, atol=0)
    wanted = torch.autograd.grad(
        plain.square().sum(), list(network.parameters()), allow_unused=True
    )
    found = torch.autograd.grad(
        estimate.image_BHW.square().sum(), list(network.parameters()), allow_unused=True
    )
    for mine, theirs in zip(found, wanted, strict=True):
        if mine is None:
            assert theirs is None or not theirs.any()
        else:
            assert torch.linalg.norm(mine - theirs) <= 1e-6 * torch.linalg.norm(theirs)


def test_the_order_of_members_does_not_matter() -> None:
    network = ensemble(VARNET, DIRCN, weights=(0.3, 0.7))
    turned = Ensemble(network.members[::-1], (0.7, 0.3))
    m = measured(network)
    assert torch.equal(network(m).image_BHW, turned(m).image_BHW)


def test_combined_images_of_members_do_not_add_up() -> None:
    """Maps of the other sign explain the data as well, yet the mean of both is 0."""
    network = ensemble(VARNET)
    m = measured(network)
    estimate = network.members[0](m)._replace(coil_images_BSCHW=None)
    image, combined, maps, _ = estimate
    turned = Estimate(image, -combined, -maps)
    wanted, found = residual(m, estimate), residual(m, turned)
    assert wanted is not None
    assert found is not None
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    assert (wanted < 0.9).all()
    assert (residual(m, Estimate(image, (combined + turned[1]) / 2, maps)) == 1).all()  # type: ignore[union-attr]
    assert network(m)[1:] == (None, None, None)
    assert residual(m, network(m)) is None


@pytest.mark.parametrize("settings", [NETWORKS["ensemble"].tiny, NETWORKS["experts"].tiny])
def test_copies_and_members_of_one_kind_share_nothing(settings: Any) -> None:
    one, other = built(settings), built(settings)
    twin = copy.deepcopy(one)
    parameters = [p for network in (one, other, twin) for p in network.parameters()]
    assert len({p.data_ptr() for p in parameters}) == len(parameters)
    before = {name: p.clone() for name, p in one.state_dict().items()}
    with torch.no_grad():
        for parameter in [*other.parameters(), *twin.parameters()]:
            parameter.add_(1)
    assert same(dict(one.state_dict()), before)


def test_published_mixtures_have_members_of_their_own() -> None:
    with torch.device("meta"):
        network = build_network(ExpertsSettings())
    assert isinstance(network, Experts)
    assert network.routes == ["brain-x4", "brain-x8", "knee-x4", "knee-x8"]
    counts = {sum(p.numel() for p in one.parameters()) for one in network.members.values()}
    assert counts == {6_014_179}
    with torch.device("meta"):
        team = build_network(EnsembleSettings())
    assert isinstance(team, Ensemble)
    assert [sum(p.numel() for p in one.parameters()) for one in team.members] == [
        325_038_150, 179_201_524, 252_989_904, 189_705_398,
    ]  # fmt: skip
    assert team.weights == (0.25,) * 4
    assert team.needs == Needs(priors=("grappa",))


def test_an_expert_may_be_an_ensemble(tmp_path: Path) -> None:
    settings = ExpertsSettings(
        members={"a": EnsembleSettings(members=(VARNET, DIRCN)), "b": VARNET}, readout_crop=2
    )
    network = built(settings).float()
    inner = network.members["a"].members
    assert {one.needs.readout_crop for one in (network, *inner, network.members["b"])} == {2}
    save_model(tmp_path / "a.safetensors", network, settings)
    loaded: Any = load_model(tmp_path / "a.safetensors").reconstructor
    assert same(dict(loaded.state_dict()), dict(network.state_dict()))
    assert loaded.needs == network.needs
    assert set(loaded.routes) == {"a", "b"}
    with pytest.raises(ValidationError, match="experts"):
        ExpertsSettings.model_validate({"members": {"a": settings.model_dump()}})


def test_a_file_of_members_that_do_not_go_together_is_refused(tmp_path: Path) -> None:
    save_model(
        tmp_path / "a.safetensors", built(NETWORKS["experts"].tiny), NETWORKS["experts"].tiny
    )
    tensors, header = read_safetensors(tmp_path / "a.safetensors")
    header["config"]["members"]["knee-x8"]["readout_crop"] = 3
    said = "a.safetensors: found config: members: found readout_crop=None of 'brain-x4', rea.*=3 of"
    with pytest.raises(CheckpointError, match=said):
        rebuild(tmp_path / "a.safetensors", header, tensors, NETWORKS)
    header["config"]["members"]["knee-x8"]["cascades"] = 0
    with pytest.raises(CheckpointError, match=r"config 'members\.knee-x8\.varnet\.cascades'"):
        rebuild(tmp_path / "a.safetensors", header, tensors, NETWORKS)


ESPIRIT = Needs(maps="espirit", crop=0.9, sets=2)
GRAPPA = Needs(priors=("grappa",), stored_priors=True)


def test_one_measurement_has_what_each_needs() -> None:
    assert together({"a": Needs(), "b": Needs()}) == Needs()
    assert together({"a": Needs(slices=3, readout_crop=2)}) == Needs(slices=3, readout_crop=2)
    wanted = Needs(
        maps="espirit", crop=0.9, sets=2, priors=("grappa",), stored_priors=True
    )  # fmt: skip
    assert together({"a": Needs(), "b": ESPIRIT, "c": GRAPPA, "d": ESPIRIT}) == wanted
    assert together({"a": GRAPPA, "b": Needs(), "c": ESPIRIT}) == wanted


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ((Needs(), Needs(), Needs(slices=3)), "slices=1 of 'a', slices=3 of 'c'"),
        ((Needs(), Needs(readout_crop=0)), "readout_crop=None of 'a', readout_crop=0 of 'b'"),
        ((Needs(), ESPIRIT, Needs(maps="espirit", sets=2)), "crop=0.9 of 'b', crop=0.8 of 'c'"),
        ((ESPIRIT, Needs(maps="espirit", crop=0.9)), "sets=2 of 'a', sets=1 of 'b'"),
        ((GRAPPA, Needs(priors=("grappa",))), "stored_priors=True of 'a', stored_priors=False of"),
    ],
)
def test_what_excludes_each_other_is_refused(needs: tuple[Needs, ...], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        together(dict(zip("abc", needs, strict=False)))
    assert str(caught.value).startswith(f"members: found {said}")


@pytest.mark.parametrize("other", [ESPIRIT, GRAPPA])
def test_networks_leave_alone_what_others_asked_for(other: Needs) -> None:
    """So that a member sees what it sees alone."""
    network = built(VARNET)
    alone = network(measured(network))
    generous = dataclasses.replace(network.needs)
    network.needs = together({"a": generous, "b": dataclasses.replace(other, sets=1)})
    assert network.needs != generous
    assert equal(network(measured(network)), alone)


REFUSED: list[tuple[type, dict[str, Any], str]] = [
    (EnsembleSettings, {"members": []}, "at least 1"),
    (EnsembleSettings, {"members": [VARNET] * 65}, "at most 64"),
    (EnsembleSettings, {"members": [VARNET], "weights": [0.5, 0.5]}, "1 members need as many"),
    (EnsembleSettings, {"members": [VARNET] * 2, "weights": [0.5, 0.6]}, "1 in all.*1.1"),
    (EnsembleSettings, {"members": [VARNET] * 2, "weights": [1.5, -0.5]}, "less than or equal"),
    (EnsembleSettings, {"members": [VARNET], "weights": [float("nan")]}, "weights.0"),
    (EnsembleSettings, {"members": [{"name": "varnet", "cascade": 3}]}, "members.0.varnet.cascade"),
    (EnsembleSettings, {"members": [{"name": "vernet"}]}, "'vernet'"),
    (EnsembleSettings, {"members": [{"name": "ensemble"}]}, "'ensemble'"),
    (ExpertsSettings, {"members": {}}, "at least 1"),
    (ExpertsSettings, {"members": {"a.b": VARNET}}, "'a.b' cannot name an expert"),
    (ExpertsSettings, {"members": {"keys": VARNET}}, "'keys' cannot name an expert"),
    (ExpertsSettings, {"members": {"": VARNET}}, "'' cannot name an expert"),
    (ExpertsSettings, {"members": {"a": {"name": "os.system"}}}, "'os.system'"),
    (ExpertsSettings, {"members": {"a": VARNET}, "route": "a"}, "Extra inputs"),
]


@pytest.mark.parametrize(("kind", "settings", "said"), REFUSED)
def test_settings_are_judged_to_the_last_member(
    kind: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=rf"(?s){said}"):
        kind.model_validate(settings)


def test_weights_written_with_few_digits_are_enough() -> None:
    thirds = EnsembleSettings(members=(VARNET,) * 3, weights=(0.3333333, 0.3333333, 0.3333334))
    assert sum(thirds.shares()) == pytest.approx(1, abs=1e-12)
