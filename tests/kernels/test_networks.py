"""A whole network computes the same with our kernels, however little of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dealias.config.compose import load_recipe
from dealias.engine.policies import MemoryPolicy
from dealias.kernels import build
from dealias.models.layers.activated import prelu_convolution
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.unet import ConvBlock
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.runs.footprint import Footprint
from dealias.runs.size import Size
from dealias.scan.measurement import measure

SETTINGS = VarNetSettings(cascades=2, channels=8, pools=1, sens_channels=8, sens_pools=1)
POLICIES = {
    "keep": MemoryPolicy(),
    "keep convolutions": MemoryPolicy(cascades="keep_convolutions"),
    "recompute": MemoryPolicy(cascades="recompute", coils=1),
    "nested": MemoryPolicy(cascades="recompute", blocks="recompute", coils=2),
}
pytestmark = pytest.mark.usefixtures("kernels")


def learned(network: VarNet) -> list[Tensor]:
    """An image and the gradients of all parameters."""
    rng = torch.Generator().manual_seed(1)
    kspace = torch.randn(1, 1, 3, 128, 120, dtype=torch.complex128, generator=rng) + 1
    m = measure(kspace, [snu_mask(120, 4)], (128, 120), network.needs)
    image = network(m).image_BHW
    parameters = list(network.parameters())
    return [image.detach(), *torch.autograd.grad(image.square().mean(), parameters)]


@pytest.mark.parametrize("name", POLICIES)
def test_images_and_gradients_are_torchs(ran: Any, off: Callable[..., Any], name: str) -> None:
    torch.manual_seed(0)
    network = VarNet(SETTINGS).double()
    wanted = off(lambda: learned(network))
    POLICIES[name].apply(network)
    with ran() as seen:
        found = learned(network)
    for one, other in zip(found, wanted, strict=True):
        # a step whose change nobody sees has no gradient
        assert float((one - other).norm()) <= 1e-9 * float(other.norm())
    # each denoiser has two levels: 8 to 16, 16 to 16, 16 to 8 channels suit
    cascades = {"keep": 1, "keep convolutions": 1, "recompute": 2, "nested": 3}[name]
    assert seen.count["dealias::conv3x3_moments"] >= 3 * 2 * cascades
    if name == "keep convolutions":
        assert seen.count["dealias::conv3x3_moments"] == 3 * 3


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
