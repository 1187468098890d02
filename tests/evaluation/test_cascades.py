"""Cascades seen from outside: nothing changes, and each image is that of a shorter network."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dealias.evaluation.cascades import ANOTHER, NO_CASCADES, NO_IMAGES, watch
from dealias.evaluation.inside import leanest, spread
from dealias.evaluation.receptive_field import receptive_field
from dealias.models.fivarnet import FeatureStage, FIVarNet, FIVarNetSettings
from dealias.models.network import Network, Unit, plain
from dealias.models.promptmr_plus import PromptMRPlusSettings
from dealias.models.settings import AnySettings
from dealias.models.table import NETWORKS, build_network
from dealias.models.varnet import VarNetSettings
from dealias.physics.fourier import fft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, measure
from shared import maps_for, routed, same

H, W = 32, 36
WITHOUT = {
    "unet": NO_CASCADES, "challenge-unet": NO_CASCADES, "attention-unet": NO_CASCADES,
    "ensemble": ANOTHER, "mambarecon": NO_IMAGES,
}  # fmt: skip


def seen_by(network: Network, dtype: torch.dtype = torch.complex128) -> Measurement:
    """A smooth object seen by four smooth coils; adjacent slices are a little brighter."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    angle = torch.linspace(0, 6, 4)[:, None, None]
    maps = torch.exp(-((x - angle.cos()) ** 2) - (y - angle.sin()) ** 2 + 1j * angle)
    image = ((x**2 + y**2) < 0.6) * (1 + torch.sin(9 * x) * torch.cos(7 * y))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(4, H, W, dtype=torch.complex64, generator=generator)
    one = (fft(image * maps) + 0.01 * noise).to(dtype)
    slices = torch.stack([one * (1 + 0.1 * i) for i in range(network.needs.slices)])[None]
    masks = [snu_mask(W, 4)]
    sens = maps_for(network.needs, slices, masks)
    return routed(network, measure(slices, masks, (H, W), network.needs, sens))


def built(settings: AnySettings, double: bool = True) -> Network:
    torch.manual_seed(0)
    network = build_network(settings).eval()
    for parameter in network.parameters():
        # whatever begins as zero or one shall do something
        parameter.data += 0.02 * torch.randn_like(parameter)
    return network.double() if double else network


def bits(estimate: Any) -> list[Tensor | None]:
    return list(estimate)


@pytest.mark.parametrize("name", NETWORKS.names)
def test_watching_changes_no_bit_and_the_last_image_is_the_estimate(name: str) -> None:
    network = built(NETWORKS[name].tiny)
    measurement = seen_by(network)
    with torch.no_grad():
        before = network(measurement)
    found = watch(network, measurement)
    with torch.no_grad():
        after = network(measurement)
    assert same(bits(found.estimate), bits(before)) and same(bits(after), bits(before))
    assert not any(module._forward_hooks for module in network.modules())
    assert found.why == WITHOUT.get(name, "")
    assert bool(found.images) == (name not in WITHOUT)
    if found.images:
        off = torch.linalg.norm(found.images[-1] - before.image_BHW)
        assert float(off / torch.linalg.norm(before.image_BHW)) < 1e-12


SMALL = VarNetSettings(cascades=3, channels=2, pools=1, sens_channels=2, sens_pools=1)


@pytest.mark.parametrize("name", ["varnet", "image", "kspace"])
def test_each_image_is_what_the_network_gives_without_the_cascades_after_it(name: str) -> None:
    settings = SMALL if name == "varnet" else tiny_plus(name)
    network = built(settings)
    measurement = seen_by(network)
    images = watch(network, measurement).images
    assert len(images) == len(network.cascades) > 1  # type: ignore[arg-type]
    for count, image in enumerate(images, start=1):
        shorter = copy.deepcopy(network)
        shorter.cascades = nn.ModuleList(list(shorter.cascades)[:count])  # type: ignore[arg-type]
        with torch.no_grad():
            expected = shorter(measurement).image_BHW
        assert float(torch.linalg.norm(image - expected) / torch.linalg.norm(expected)) < 1e-13
    # each cascade does something, so that they could be told apart
    assert min(float((a - b).abs().max()) for a, b in zip(images, images[1:], strict=False)) > 1e-3


def test_features_are_decoded_as_at_the_network_s_end() -> None:
    tiny = NETWORKS["fivarnet"].tiny
    assert isinstance(tiny, FIVarNetSettings)
    stages = (FeatureStage(cascades=3, attention="alias"),)
    network = built(tiny.model_copy(update={"stages": stages, "shared": True}))
    assert isinstance(network, FIVarNet)
    measurement = seen_by(network)
    images = watch(network, measurement).images
    assert len(images) == 3
    for count, image in enumerate(images, start=1):
        stage = FeatureStage(cascades=count, attention="alias")
        network.settings = network.settings.model_copy(update={"stages": (stage,)})
        with torch.no_grad():
            expected = network(measurement).image_BHW
        assert float(torch.linalg.norm(image - expected) / torch.linalg.norm(expected)) < 1e-12


def tiny_plus(state: str) -> PromptMRPlusSettings:
    tiny = NETWORKS["promptmr+"].tiny
    assert isinstance(tiny, PromptMRPlusSettings)
    return tiny.model_copy(update={"state": state, "cascades": 2})


def test_the_maps_are_those_that_cascades_saw() -> None:
    network = built(SMALL)
    measurement = seen_by(network)
    found = watch(network, measurement)
    assert found.sens_BSCHW is not None and found.estimate.sens_BSCHW is not None
    assert torch.equal(found.sens_BSCHW, found.estimate.sens_BSCHW)
    norm = torch.linalg.vector_norm(found.sens_BSCHW, dim=2)
    assert torch.allclose(norm[norm > 0], torch.ones((), dtype=torch.float64))


def test_the_leanest_policy_gives_the_same_field_and_keeps_least() -> None:
    network = built(SMALL)
    measurement = seen_by(network)
    expected = receptive_field(network, measurement, H)
    policy = leanest(network)
    assert (policy.cascades, policy.blocks, policy.coils) == ("recompute", "recompute", 1)
    policy.apply(network)
    found = receptive_field(network, measurement, H)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)
    assert any(unit.runner is not plain for unit in network.modules() if isinstance(unit, Unit))
    assert leanest(built(NETWORKS["unet"].tiny)).cascades == "keep"


@pytest.mark.parametrize(("count", "most"), [(0, 7), (5, 7), (7, 7), (12, 7), (30, 8), (9, 2)])
def test_spread_keeps_both_ends_and_never_repeats(count: int, most: int) -> None:
    places = spread(count, most)
    assert len(places) == len(set(places)) == min(count, most)
    assert places == sorted(places)
    if count:
        assert (places[0], places[-1]) == (0, count - 1)
        gaps = np.diff(places)
        assert not len(gaps) or gaps.max() - gaps.min() <= 1
