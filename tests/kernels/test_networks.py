"""A whole network computes the same with our kernels, however little of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from contracts import test_networks as contracts
from dealias.config.compose import load_recipe
from dealias.engine import workspace
from dealias.engine.policies import MemoryPolicy
from dealias.engine.workspace import Workspace
from dealias.kernels import build, convolution, norm
from dealias.models.layers.activated import prelu_convolution
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.unet import ConvBlock
from dealias.models.network import Network, NetworkEntry
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.runs.footprint import Footprint
from dealias.runs.size import Size
from dealias.scan.measurement import Measurement, measure
from runs import test_footprint as footprints

SETTINGS = VarNetSettings(cascades=2, channels=8, pools=1, sens_channels=8, sens_pools=1)
POLICIES = {
    "keep": MemoryPolicy(),
    "keep convolutions": MemoryPolicy(cascades="keep_convolutions"),
    "recompute": MemoryPolicy(cascades="recompute", coils=1),
    "nested": MemoryPolicy(cascades="recompute", blocks="recompute", coils=2),
}
POLICY = pytest.mark.parametrize("name", POLICIES)
pytestmark = pytest.mark.usefixtures("kernels")


def random_measurement(network: Network) -> Measurement:
    rng = torch.Generator().manual_seed(1)
    kspace = torch.randn(1, 1, 3, 128, 120, dtype=torch.complex128, generator=rng) + 1
    return measure(kspace, [snu_mask(120, 4)], (128, 120), network.needs)


def learned(network: Network, m: Measurement) -> list[Tensor]:
    """An image and the gradients of all parameters that have one."""
    image = network(m).image_BHW
    parameters = [one for one in network.parameters() if one.requires_grad]
    gradients = torch.autograd.grad(image.square().mean(), parameters, allow_unused=True)
    return [image.detach(), *(one for one in gradients if one is not None)]


@POLICY
def test_images_and_gradients_are_torchs(ran: Any, off: Callable[..., Any], name: str) -> None:
    torch.manual_seed(0)
    network = VarNet(SETTINGS).double()
    m = random_measurement(network)
    wanted = off(lambda: learned(network, m))
    POLICIES[name].apply(network)
    with ran() as seen:
        found = learned(network, m)
    for one, other in zip(found, wanted, strict=True):
        # a step whose change nobody sees has no gradient
        assert float((one - other).norm()) <= 1e-9 * float(other.norm())
    # each denoiser has two levels: 8 to 16, 16 to 16, 16 to 8 channels suit
    cascades = {"keep": 1, "keep convolutions": 1, "recompute": 2, "nested": 3}[name]
    assert seen.count["dealias::conv3x3_moments"] >= 3 * 2 * cascades
    if name == "keep convolutions":
        assert seen.count["dealias::conv3x3_moments"] == 3 * 3


@contracts.every_network
def test_every_network_computes_the_same(
    ran: Any, off: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, entry: NetworkEntry
) -> None:
    for name in ("NARROW", "WIDE", "TILES", "WORTH"):
        monkeypatch.setattr(convolution, name, 1)
    monkeypatch.setattr(norm, "WORTH", 1)
    network = contracts.build(entry).double()
    y = contracts.kspace(2, hw=(29, 35), dtype=torch.complex128)
    m = contracts.measured(network, y, snu_mask(35, 4))
    with ran() as seen:
        found = learned(network, m)
    assert any(one.startswith("dealias::") for one in seen.count)
    image, *gradients = off(lambda: learned(network, m))
    largest = max(float(one.norm()) for one in gradients)
    assert float((found[0] - image).norm()) < 1e-9 * float(image.norm())
    for one, other in zip(found[1:], gradients, strict=True):
        # where nothing but rounding is left of a gradient, that is of the largest
        assert float((one - other).norm()) < 1e-9 * max(float(other.norm()), 1e-3 * largest)


@POLICY
def test_a_plan_is_within_5_percent_of_the_allocator(
    name: str, allocator_peak: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(workspace, "usual", lambda call, device, moved: 1.0)  # no times are asked
    recipe, size = footprints.recipe(SETTINGS), Size(4, (128, 120), (112, 112), 8)
    footprint = Footprint(recipe, size, "cpu", Workspace(torch.device("cpu")), None)
    count = footprint.training_count(POLICIES[name])
    assert any("dealias.conv3x3" in use.operation.key for use in count.uses)
    footprint.measure([count], lambda total: lambda done: None)
    planned = footprint.need(POLICIES[name], count).training.peak
    found = footprints.Truth(recipe, size, allocator_peak).training(POLICIES[name])
    assert planned == pytest.approx(found, rel=0.05)


def test_kept_convolutions_that_were_overwritten_are_refused(ran: Any) -> None:
    network = torch.nn.Sequential(ConvBlock(16, 16, 0.0))
    network[0].first.requires_grad_(False)
    MemoryPolicy(blocks="keep_convolutions").apply(network)
    x = torch.ones(1, 16, 64, 64).contiguous(memory_format=torch.channels_last)
    with ran() as seen:
        y = network(x)
    assert seen.count["dealias::activate_"] == 1
    with pytest.raises(RuntimeError, match="mutated"):
        y.sum().backward()


def test_a_prelu_before_it_changes_nothing(ran: Any, off: Callable[..., Any]) -> None:
    rng = torch.Generator().manual_seed(4)
    x = torch.randn(2, 20, 50, 61, dtype=torch.float64, generator=rng)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    slope = torch.tensor([0.25], dtype=torch.float64, requires_grad=True)
    convolution = Conv2d(20, 24, 3, padding=1, bias=False).double()

    def run() -> list[Tensor]:
        y = prelu_convolution(x, slope, convolution)
        towards = torch.ones_like(y).cumsum(3) % 7
        return [y.detach(), *torch.autograd.grad(y, (x, slope, convolution.weight), towards)]

    with ran() as seen:
        found = run()
    assert seen.ours() == 2
    for one, other in zip(found, off(run), strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-12


def test_a_plan_counts_what_will_run() -> None:
    overrides = ["network.cascades=2", "network.channels=8", "network.pools=1",
                 "network.sens_pools=1"]  # fmt: skip
    recipe = load_recipe("varnet", overrides)
    size = Size(3, (128, 120), (112, 112), 8)
    counts = {}
    for device in ("cpu", "cuda"):
        footprint = Footprint(recipe, size, device, None, None)
        counts[device] = footprint.training_count(MemoryPolicy())
    names = [{use.operation.function._schema.name for use in one.uses} for one in counts.values()]
    assert "dealias::conv3x3_moments" in names[0]
    assert not any(name.startswith("dealias::") for name in names[1])
    # those of a direct convolution, everywhere
    flops = [
        sum(use.times * use.operation.flops for use in one.uses if "conv" in use.operation.key)
        for one in counts.values()
    ]
    assert flops[0] == flops[1] > 0
    assert "meta" not in build._asked
