"""Sensitivity maps of any network: learned, given, or given and refined."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.models.network import MappedSettings, Network, NetworkEntry
from dealias.models.table import NETWORKS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.coils import rss
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, measure
from shared import maps_for

MAPPED = [entry for entry in NETWORKS if issubclass(entry.settings, MappedSettings)]
every_mapped = pytest.mark.parametrize("entry", MAPPED, ids=lambda entry: entry.name)
either = pytest.mark.parametrize("maps", ["espirit", "both"])


def built(entry: NetworkEntry, maps: str) -> Network:
    torch.manual_seed(0)
    return entry.build(entry.tiny.model_copy(update={"maps": maps})).double()


def measured(network: Network, given: bool = True) -> Measurement:
    generator = torch.Generator().manual_seed(1)
    shape = (2, network.needs.slices, 4, 32, 36)
    y = torch.randn(shape, dtype=torch.complex128, generator=generator) + 1
    masks = [snu_mask(36, 4)] * 2
    maps = maps_for(network.needs, y, masks) if given else None
    return measure(y, masks, (32, 36), network.needs, maps)


def results(network: Network, m: Measurement) -> list[Any]:
    network.zero_grad()
    image_BHW = network(m).image_BHW
    image_BHW.square().sum().backward()
    trained = (p for p in network.parameters() if p.requires_grad)
    return [image_BHW.detach(), *(p.grad for p in trained)]


@every_mapped
@either
def test_given_maps_are_used_and_all_that_is_left_learns(entry: NetworkEntry, maps: str) -> None:
    network = built(entry, maps)
    assert network.needs.maps == "espirit"
    m = measured(network)
    found = results(network, m)
    assert all(one is not None and torch.isfinite(one).all() for one in found)
    turned = Measurement(**{**vars(m), "sens_BSCHW": m.sens_BSCHW.flip(2)})  # type: ignore[union-attr]
    assert not torch.allclose(network(turned).image_BHW, found[0])
    sensitivity = network.sensitivity
    count = sum(p.numel() for p in sensitivity.parameters())  # type: ignore[union-attr]
    assert (count == 0) == (maps == "espirit")


@every_mapped
def test_refined_maps_are_those_of_the_same_network_that_saw_others(entry: NetworkEntry) -> None:
    learned, both = built(entry, "learned"), built(entry, "both")
    assert list(learned.state_dict()) == list(both.state_dict())
    m = measured(both)
    maps_BSCHW = both.sensitivity(m)  # type: ignore[operator]
    assert not torch.allclose(maps_BSCHW, learned.sensitivity(m))  # type: ignore[operator]
    if not getattr(both.sensitivity, "joint", False):
        assert torch.allclose(rss(maps_BSCHW, 2), torch.ones(()).double())


@pytest.mark.parametrize("maps", ["espirit", "both"])
def test_policies_keep_images_and_gradients(maps: str) -> None:
    network = built(NETWORKS["varnet"], maps)
    m = measured(network)
    wanted = results(network, m)
    coils = 3 if maps == "both" else None  # given maps leave nothing to do coil by coil
    MemoryPolicy(cascades="recompute", blocks="recompute", coils=coils).apply(network)
    for a, b in zip(results(network, m), wanted, strict=True):
        assert torch.linalg.norm(a - b) <= 1e-10 * torch.linalg.norm(b)


@every_mapped
@either
def test_a_measurement_without_maps_is_refused(entry: NetworkEntry, maps: str) -> None:
    network = built(entry, maps)
    with pytest.raises(SettingsError, match="network.maps=learned"):
        network(measured(network, given=False))


def test_given_maps_stand_in_the_estimate_and_the_operator() -> None:
    """E2E-VarNet without refinement is the coil combination of the data."""
    network = VarNet(VarNetSettings(cascades=1, channels=2, pools=1, maps="espirit")).double()
    for parameter in network.cascades[0].denoiser.parameters():
        torch.nn.init.zeros_(parameter)
    m = measured(network)
    estimate = network(m)
    assert estimate.sens_BSCHW is not None
    assert m.sens_BSCHW is not None
    assert torch.allclose(estimate.sens_BSCHW, m.sens_BSCHW)
    A = m.operator(m.sens_BSCHW)
    x0_BSHW = A.adjoint(m.kspace_BSCHW)
    # the denoiser of zeros gives its image's means
    mean = torch.complex(x0_BSHW.real.mean((2, 3)), x0_BSHW.imag.mean((2, 3)))[..., None, None]
    combined = x0_BSHW - A.gram(mean.expand_as(x0_BSHW))
    assert torch.allclose(estimate.combined_BSHW, combined)
