"""PromptMR+: published sizes, and what we compute another way than it was published."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contracts import test_networks as contracts
from dealias.engine.policies import MemoryPolicy
from dealias.models.layers.channel_attention import ChannelAttentionBlock
from dealias.models.layers.prompt_unet import DecoderLevel, PromptUNet
from dealias.models.network import NetworkEntry
from dealias.models.promptmr_plus import PromptMRPlus, PromptMRPlusSettings
from dealias.models.table import NETWORKS
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, measure

SMARTIFY: dict[str, Any] = {
    "cascades": 8, "slices": 1, "history": 3, "features": (8, 24, 32, 40),
    "prompt_channels": (8, 16, 24), "sens_features": (8, 12, 16, 20),
    "sens_prompt_channels": (4, 8, 12), "prompts": (3, 3, 3), "prompt_size": (16, 8, 4),
}  # fmt: skip
EJ: dict[str, Any] = {
    "cascades": 8, "slices": 3, "history": 0, "features": (48, 64, 80, 96),
    "prompt_channels": (16, 32, 48), "sens_features": (12, 16, 20, 24),
    "sens_prompt_channels": (4, 8, 12), "reduction": None,
}  # fmt: skip
TINY = NETWORKS["promptmr+"].tiny


@pytest.mark.parametrize("state", ["image", "kspace"])
@pytest.mark.parametrize(
    ("changes", "all_of_them", "trained"),
    [
        ({}, 92_859_005, 82_491_005),
        ({"slices": 1}, 92_069_117, 81_701_117),
        (SMARTIFY, 5_869_283, 5_781_155),
        ({**SMARTIFY, "reduction": 2}, 6_014_179, 5_926_051),
        (EJ, 34_225_281, 29_663_361),
        ({"sens_adjacent": False}, 92_852_477, 82_484_477),
    ],
    ids=["published", "one slice", "sMaRtIfy's", "sMaRtIfy's, wide gates", "EJ's", "maps alone"],
)
def test_parameters_of_published_configurations(
    changes: dict[str, Any], all_of_them: int, trained: int, state: str
) -> None:
    with torch.device("meta"):
        network = PromptMRPlus(PromptMRPlusSettings.model_validate({**changes, "state": state}))
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    assert sum(size for size, _ in sizes) == all_of_them
    assert sum(size for size, wanted in sizes if wanted) == trained


def test_the_block_is_a_gated_residual() -> None:
    torch.manual_seed(1)
    activation = nn.PReLU()
    block = ChannelAttentionBlock(6, 2, activation).double()
    activation.double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    y = block.second(activation(block.first(x)))
    assert block.gate is not None
    means = F.adaptive_avg_pool2d(y, 1)
    gate = torch.sigmoid(block.gate.excite(torch.relu(block.gate.squeeze(means))))
    assert_same(block(x), x + y * gate, [x, block.first.weight, block.gate.squeeze.weight])


def test_a_decoder_level_is_the_published_one() -> None:
    torch.manual_seed(0)
    settings = PromptMRPlusSettings(features=(4, 6, 8, 10), history=2, prompt_size=(4, 3, 2))
    level = DecoderLevel(settings.sizes(), 2, nn.PReLU()).double()
    x, *earlier = torch.randn(3, 1, 10, 4, 6, dtype=torch.float64).requires_grad_().unbind(0)
    skip = torch.randn(1, 8, 8, 12, dtype=torch.float64, requires_grad=True)
    weights = torch.softmax(level.prompt.weigh(x.mean((-2, -1))), dim=1)[..., None, None, None]
    prompt = F.interpolate((weights * level.prompt.prompts).sum(1), (4, 6), mode="bilinear")
    assert level.momentum is not None
    mixed = level.momentum.block(level.momentum.mix(torch.cat([x, *earlier], dim=1)))
    fused = level.blocks(torch.cat([mixed, level.prompt.convolution(prompt)], dim=1))
    twice = nn.Upsample(scale_factor=2, mode="bilinear")(level.reduce(fused))
    wanted = level.last(level.up(twice) + level.skip(skip))
    assert_same(
        level(x, skip, tuple(earlier)), wanted, [x, *earlier, skip, *trained(level).values()]
    )


def test_history_begins_with_itself_and_forgets_the_oldest() -> None:
    torch.manual_seed(0)
    settings = PromptMRPlusSettings(features=(4, 6, 8, 10), history=2, prompt_size=(4, 3, 2))
    network = PromptUNet(4, settings.sizes(), nn.PReLU())
    seen: list[list[Tensor]] = [[], [], []]
    for level, kept in zip(network.decoder, seen, strict=True):
        level.register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0]))
    x = torch.randn(1, 4, 16, 24)
    _, first = network(x)
    _, second = network(x + 1, first)
    _, third = network(x - 1, second)
    for level, (a, b, c) in enumerate(seen):
        assert all(one is a for one in first[level])
        assert second[level][0] is b
        assert second[level][1] is a
        assert third[level][0] is c
        assert third[level][1] is b


@pytest.mark.parametrize("changes", [{}, {"adaptive_input": False}, {"history": 0}])
def test_cascades_of_the_image_state_descend_and_refine(changes: dict[str, Any]) -> None:
    network, m = drawn({"cascades": 3, "history": 2, **changes})
    sens, history = network.sensitivity(m), ()

    def combined(kspace: Tensor) -> Tensor:
        return (sens.conj() * ifft(kspace, m.axes)).sum(2)

    x0 = combined(m.kspace_BSCHW)
    x = latent = x0
    for cascade in network.cascades:
        ffx = combined(fft(sens * x[:, :, None], m.axes) * m.mask_B11HW)
        seen = [ffx, latent, x0, ffx - x0] if cascade.adaptive else []
        given, history = denoised(cascade, [x, *seen], history)
        latent = given[:, 6:9]
        x = x - cascade.step * (ffx - x0) - given[:, :3]
    wanted = torch.linalg.vector_norm(sens[:, 1] * x[:, 1, None], dim=1)
    assert_same(network(m).image_BHW, wanted, list(trained(network).values()))


@pytest.mark.parametrize("changes", [{}, {"adaptive_input": False}, {"history": 0}])
def test_cascades_of_the_kspace_state_are_those_on_kspace(changes: dict[str, Any]) -> None:
    network, m = drawn({"cascades": 3, "history": 2, "state": "kspace", **changes})
    sens, history = network.sensitivity(m), ()

    def combined(kspace: Tensor) -> Tensor:
        return (sens.conj() * ifft(kspace, m.axes)).sum(2)

    x0 = combined(m.kspace_BSCHW)
    k, seen = m.kspace_BSCHW, [x0] * 4
    for cascade in network.cascades:
        buffers = seen if cascade.adaptive else []
        given, history = denoised(cascade, [combined(k), *buffers], history)
        k = k - cascade.step * (k - m.kspace_BSCHW) * m.mask_B11HW
        k = k - fft(sens * given[:, :3, None], m.axes)
        ffx = combined(k * m.mask_B11HW)
        seen = [ffx, given[:, 6:9], x0, ffx - x0]
    wanted = torch.linalg.vector_norm(ifft(k, m.axes)[:, 1], dim=1)
    assert_same(network(m).image_BHW, wanted, list(trained(network).values()))


def drawn(changes: dict[str, Any]) -> tuple[PromptMRPlus, Measurement]:
    """A tiny network in float64 whose steps are not 1, and what it may look at."""
    torch.manual_seed(0)
    network = PromptMRPlus(TINY.model_copy(update=changes)).double()  # type: ignore[arg-type]
    for cascade in network.cascades:
        nn.init.uniform_(cascade.step, 0.3, 0.9)
    y = torch.randn(2, 3, 4, 17, 22, dtype=torch.complex128) + 1
    return network, measure(y, [snu_mask(22, 4)] * 2, (17, 22), network.needs)


def denoised(cascade: nn.Module, images: list[Tensor], history: Any) -> tuple[Tensor, Any]:
    out = cascade.denoiser(torch.cat(images, dim=1), history)
    return out if isinstance(out, tuple) else (out, history)


SAVING = [
    MemoryPolicy(cascades="recompute"),
    MemoryPolicy(cascades="recompute", blocks="recompute"),
    MemoryPolicy(cascades="keep_convolutions"),
]


@pytest.mark.parametrize("policy", SAVING, ids=["cascades", "nested", "selective"])
@pytest.mark.parametrize("state", ["image", "kspace"])
def test_gradients_with_history_are_right_when_recomputed(state: str, policy: MemoryPolicy) -> None:
    """The published ones are off by up to 16 %: its history is changed in place.

    tests/engine/test_history.py shows that fault, tests/contracts/test_policies.py all policies.
    """
    changes = {"cascades": 4, "history": 3, "state": state}
    (plain, m), (saving, _) = drawn(changes), drawn(changes)
    policy.apply(saving)
    for network in (plain, saving):
        network(m).image_BHW.square().sum().backward()
    pairs = zip(trained(plain).values(), trained(saving).values(), strict=True)
    for a, b in pairs:
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)


def test_networks_of_one_process_have_their_own_activation() -> None:
    """Published as a default argument: loading a second network would change the first."""
    one, other = drawn({})[0], drawn({})[0]
    other.load_state_dict({name: torch.ones_like(p) for name, p in other.state_dict().items()})
    assert one.activation.weight.item() == 0.25


def of_kspace() -> NetworkEntry:
    return dataclasses.replace(
        NETWORKS["promptmr+"], tiny=TINY.model_copy(update={"state": "kspace"})
    )


CONTRACTS = [
    contracts.test_a_batch_is_its_items,
    contracts.test_a_blank_slice_is_zero_and_a_dead_coil_is_no_harm,
    contracts.test_an_empty_mask_gives_zeros,
    contracts.test_coils_have_no_order,
    contracts.test_it_runs_on_meta,
    contracts.test_two_instances_share_nothing_and_copies_are_their_own,
    contracts.test_cropped_rows_leave_the_measurement_alone,
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda one: one.__name__)
def test_the_kspace_state_keeps_the_contract(contract: Callable[[NetworkEntry], None]) -> None:
    contract(of_kspace())


@pytest.mark.parametrize("scale", [2.0**-83, 1e25])
def test_scale_goes_through_the_kspace_state(scale: float) -> None:
    contracts.test_scale_goes_through(of_kspace(), scale)


@pytest.mark.parametrize(("hw", "coils"), [((33, 35), 1), ((20, 51), 20)])
def test_the_kspace_state_takes_any_size(hw: tuple[int, int], coils: int) -> None:
    contracts.test_any_size_and_coils_give_images_and_gradients(of_kspace(), hw, coils)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def assert_same(found: Tensor, wanted: Tensor, of: list[Tensor]) -> None:
    """Outputs and gradients, to 1e-10."""
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    weight = torch.randn_like(wanted)
    mine, theirs = (torch.autograd.grad((one * weight).sum(), of) for one in (found, wanted))
    largest = max(float(torch.linalg.norm(b)) for b in theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.linalg.norm(a - b) < 1e-10 * max(float(torch.linalg.norm(b)), 1e-3 * largest)
