"""PromptMR: published sizes, and its cascades against the same on multi-coil k-space."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dealias.models.layers.channel_attention import Gate
from dealias.models.promptmr import PromptMR, PromptMRSettings
from dealias.models.table import NETWORKS
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, Needs, measure

SUNGSIMDANG: dict[str, Any] = {
    "cascades": 6, "slices": 1, "features": (32, 48, 64, 80), "prompt_channels": (16, 32, 48),
    "sens_features": (16, 24, 32, 40), "sens_prompt_channels": (8, 16, 24),
    "prompt_size": (32, 16, 8),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "all_of_them", "trained"),
    [
        ({}, 81_528_317, 71_160_317),
        ({"slices": 1}, 81_371_645, 71_003_645),
        ({"slices": 3, "reduction": None}, 79_643_645, 69_275_645),
        (SUNGSIMDANG, 17_006_711, 16_108_151),
    ],
    ids=["published", "one slice", "trained on fastMRI", "Sungsimdang's"],
)
def test_parameters_of_published_configurations(
    changes: dict[str, Any], all_of_them: int, trained: int
) -> None:
    with torch.device("meta"):
        network = PromptMR(PromptMRSettings.model_validate(changes))
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    assert sum(size for size, _ in sizes) == all_of_them
    assert sum(size for size, wanted in sizes if wanted) == trained


def test_parameters_of_the_sensitivity_network() -> None:
    with torch.device("meta"):
        network = PromptMR(PromptMRSettings())
    # and the PReLU that all share
    assert sum(p.numel() for p in network.sensitivity.parameters()) + 1 == 1_865_009


def test_a_gate_of_few_channels_has_one_inside() -> None:
    """Published as channels // reduction, which is none at all."""
    gate = Gate(3, 4)
    assert gate.squeeze.weight.shape == (1, 3, 1, 1)
    assert (gate(torch.rand(1, 3, 5, 5)) > 0).all()


def test_networks_of_one_process_have_their_own_activation() -> None:
    """Published as a default argument: one PReLU for all networks of a process."""
    entry = NETWORKS["promptmr"]
    one, other = entry.build(entry.tiny), entry.build(entry.tiny)
    assert isinstance(one, PromptMR)
    assert isinstance(other, PromptMR)
    with torch.no_grad():
        one.activation.weight.fill_(0.9)
    assert other.activation.weight.item() == 0.25
    blocks = [m for m in one.modules() if hasattr(m, "_activation")]
    shared = [block for block in blocks if block._activation[0] is one.activation]
    assert len(blocks) - len(shared) == 1 + len(one.cascades)


def test_cascades_are_the_published_ones_on_kspace() -> None:
    network = randomised(PromptMR(NETWORKS["promptmr"].tiny))  # type: ignore[arg-type]
    m = measurement(slices=3)
    sens = network.sensitivity(m)
    k = m.kspace_BSCHW
    for cascade in network.cascades:
        misfit = torch.where(m.mask_B11HW, k - m.kspace_BSCHW, 0)
        change = cascade.denoiser((sens.conj() * ifft(k, m.axes)).sum(2))
        k = k - cascade.step * misfit - fft(sens * change[:, :, None], m.axes)
    wanted = torch.linalg.vector_norm(ifft(k, m.axes)[:, 1], dim=1)
    assert_same(network, network(m).image_BHW, wanted)


def randomised(network: PromptMR) -> PromptMR:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter.uniform_(-0.3, 0.5)
    return network


def measurement(slices: int) -> Measurement:
    y = torch.randn(2, slices, 3, 17, 22, dtype=torch.complex128) + 1
    return measure(y, [snu_mask(22, 4)] * 2, (17, 22), Needs(slices=slices))


def assert_same(network: torch.nn.Module, found: Tensor, wanted: Tensor) -> None:
    """Images and gradients, to 1e-10."""
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    weight = torch.randn_like(wanted)
    of = [p for p in network.parameters() if p.requires_grad]
    mine, theirs = (torch.autograd.grad((one * weight).sum(), of) for one in (found, wanted))
    largest = max(float(torch.linalg.norm(b)) for b in theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.linalg.norm(a - b) < 1e-10 * max(float(torch.linalg.norm(b)), 1e-3 * largest)
