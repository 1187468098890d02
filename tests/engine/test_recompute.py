"""Recomputation: what it saves, what it computes twice, and where it would go wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.engine.policies import MemoryPolicy
from dealias.models.network import Cascade
from dealias.models.table import NETWORKS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure

SMALL = VarNetSettings(cascades=4, channels=12, pools=2, sens_channels=4, sens_pools=2)
LADDER = {
    "keep": MemoryPolicy(),
    "keep_convolutions": MemoryPolicy(cascades="keep_convolutions"),
    "recompute": MemoryPolicy(cascades="recompute"),
    "coils": MemoryPolicy(cascades="recompute", coils=1),
    "nested": MemoryPolicy(cascades="recompute", blocks="recompute", coils=1),
}


def varnet(policy: MemoryPolicy, settings: VarNetSettings = SMALL) -> VarNet:
    torch.manual_seed(0)
    network = VarNet(settings)
    policy.apply(network)
    return network


def loss_of(network: Any, coils: int = 8, hw: tuple[int, int] = (64, 48)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(1, 1, coils, *hw, dtype=torch.complex64, generator=generator) + 2
    m = measure(y, [snu_mask(hw[1], 4)], hw, network.needs)
    loss: Tensor = network(m).image_BHW.square().mean()
    return loss


class Convolutions(TorchDispatchMode):
    """Counts those of the forward kind."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.convolution.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "times"), [("keep", 1), ("keep_convolutions", 1),
                                             ("recompute", 2), ("nested", 3)])  # fmt: skip
def test_how_often_a_convolution_is_computed(name: str, times: int) -> None:
    """Of the cascades; the sensitivity network adds its own."""
    entry = NETWORKS["varnet"]
    assert isinstance(entry.tiny, VarNetSettings)
    network = varnet(LADDER[name].model_copy(update={"coils": None}), entry.tiny)
    with Convolutions() as forward:
        loss = loss_of(network, 2, (16, 20))
    with Convolutions() as backward:
        loss.backward()
    one = forward.count // (entry.tiny.cascades + 1)  # all U-Nets are alike here
    assert forward.count == one * (entry.tiny.cascades + 1)
    # recomputation may stop before a unit's last convolution, whose output nothing needs
    most = entry.tiny.cascades * one * (times - 1) + (one if name == "nested" else 0)
    assert most - 2 * entry.tiny.cascades * (times - 1) <= backward.count <= most


def test_each_step_of_the_ladder_keeps_less(allocator_peak: Any) -> None:
    peaks = {}
    for name, policy in LADDER.items():
        network = varnet(policy)
        with allocator_peak() as peak:
            loss_of(network).backward()
        peaks[name] = peak.bytes
    assert list(peaks) == sorted(peaks, key=lambda name: -peaks[name]), peaks
    assert peaks["keep_convolutions"] < 0.75 * peaks["keep"]
    assert peaks["nested"] < 0.3 * peaks["keep"]


def test_chunks_of_coils_bound_inference_too(allocator_peak: Any) -> None:
    peaks = []
    for coils in (None, 1):
        network = varnet(MemoryPolicy(coils=coils)).eval()
        with torch.no_grad(), allocator_peak() as peak:
            loss_of(network, coils=16)
        peaks.append(peak.bytes)
    assert peaks[1] < 0.6 * peaks[0]


class First(Cascade):
    """A first module: its inputs are data, which need no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(24))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


@pytest.mark.parametrize("offload", [(), ("boundaries",)])
def test_a_first_module_is_recomputed_too(allocator_peak: Any, offload: tuple[str, ...]) -> None:
    """Checkpointing of the old kind did nothing there, or lost the gradients."""
    data, kept, gradients = torch.ones(1, 4, 128, 128), [], []
    for policy in (MemoryPolicy(), MemoryPolicy(cascades="recompute", offload=offload)):
        torch.manual_seed(0)
        network = nn.Sequential(First())
        policy.apply(network)
        with allocator_peak() as peak:
            output = network(data)
        kept.append(peak.bytes)
        output.square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert kept[1] < 0.4 * kept[0]
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_random_numbers_go_on_as_without() -> None:
    states = []
    for policy in (MemoryPolicy(), MemoryPolicy(blocks="recompute")):
        entry = NETWORKS["unet"]
        torch.manual_seed(0)
        network = entry.build(entry.tiny.model_copy(update={"dropout": 0.5}))
        policy.apply(network)
        loss_of(network).backward()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


class Overwriting(First):
    """Leaves nothing of what its convolutions gave."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh_(layer(x))
        return x


def test_a_kept_convolution_that_is_overwritten_is_refused() -> None:
    network = nn.Sequential(Overwriting())
    MemoryPolicy(cascades="keep_convolutions").apply(network)
    with pytest.raises(RuntimeError, match="mutated"):
        network(torch.ones(1, 4, 8, 8)).sum().backward()
