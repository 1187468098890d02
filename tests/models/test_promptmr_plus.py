"""PromptMR+: published sizes, and what we compute another way than it was published."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.channel_attention import ChannelAttentionBlock
from dealias.models.layers.prompt_unet import DecoderLevel, PromptUNet
from dealias.models.promptmr_plus import PromptMRPlus, PromptMRPlusSettings

SMARTIFY: dict[str, Any] = {
    "cascades": 8, "slices": 1, "history": 3, "features": (8, 24, 32, 40),
    "prompt_channels": (8, 16, 24), "sens_features": (8, 12, 16, 20),
    "sens_prompt_channels": (4, 8, 12), "prompts": (3, 3, 3), "prompt_size": (16, 8, 4),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "all_of_them", "trained"),
    [
        ({}, 92_859_005, 82_491_005),
        ({"slices": 1}, 92_069_117, 81_701_117),
        (SMARTIFY, 5_869_283, 5_781_155),
        ({**SMARTIFY, "reduction": 2}, 6_014_179, 5_926_051),
    ],
    ids=["published", "one slice", "6 million", "6 million, wide attention"],
)
def test_parameters_of_published_configurations(
    changes: dict[str, Any], all_of_them: int, trained: int
) -> None:
    with torch.device("meta"):
        network = PromptMRPlus(PromptMRPlusSettings.model_validate(changes))
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


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def assert_same(found: Tensor, wanted: Tensor, of: list[Tensor]) -> None:
    """Outputs and gradients, to 1e-10."""
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    weight = torch.randn_like(wanted)
    pairs = zip(
        torch.autograd.grad((found * weight).sum(), of),
        torch.autograd.grad((wanted * weight).sum(), of),
        strict=True,
    )
    for a, b in pairs:
        assert torch.linalg.norm(a - b) < 1e-10 * torch.linalg.norm(b)
