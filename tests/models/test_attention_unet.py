"""The Attention U-Net: published size, what it sees, and any size of image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.models.attention_unet import AttentionUnet, AttentionUnetSettings
from dealias.models.layers.attention_unet import AttentionGate
from dealias.models.layers.dense_middle import DenseMiddle, Pattern, pooled
from dealias.models.published.snu2022 import ATTENTION_UNET
from dealias.models.table import NETWORKS
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, measure

DOUBLE = torch.float64


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


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


def test_most_parameters_are_the_pattern() -> None:
    with torch.device("meta"):
        network = AttentionUnet(AttentionUnetSettings())
    assert sum(p.numel() for p in network.parameters()) == 325_038_150
    assert len(network.state_dict()) == 66
    assert network.denoiser.network.mix.spread.weight.numel() == 268_435_456


def test_it_takes_any_size_without_memory_for_another() -> None:
    with torch.device("meta"):
        network = AttentionUnet(AttentionUnetSettings())
    y = torch.empty(1, 1, 15, 640, 368, dtype=torch.complex64, device="meta")
    m = measure(y, [snu_mask(368, 4)], (320, 320), network.needs)
    assert network(m).image_BHW.shape == (1, 640, 368)


def test_settings_are_read_from_the_weights() -> None:
    settings = AttentionUnetSettings(channels=8, hidden=5, kernel=4, stride=2, stored=True)
    with torch.device("meta"):
        state = AttentionUnet(settings).state_dict()
    ours = {
        "encoder1.encoderblock.0.weight": state["denoiser.network.down.0.first.weight"].shape,
        "center.fc1.0.weight": state["denoiser.network.mix.layers.0.weight"].shape,
        "center.invconv.0.weight": state["denoiser.network.mix.spread.weight"].shape,
    }
    assert ATTENTION_UNET.settings(ours) == settings


@pytest.mark.parametrize("hw", [(1, 1), (1, 6), (2, 3), (7, 8), (24, 25), (48, 25)])
def test_parts_are_pooled_as_adaptive_pooling_does(hw: tuple[int, int]) -> None:
    x = random(2, 3, *hw).requires_grad_()
    assert_same(pooled(x, (2, 2)), F.adaptive_max_pool2d(x, 2), [x])


def test_the_middle_at_the_published_size_is_the_published_one() -> None:
    torch.manual_seed(0)
    middle = DenseMiddle(6, (5,), Pattern((16, 16), (8, 8)), 0.2, 0.0).double()
    x = random(2, 6, 24, 24).requires_grad_()
    first, second = middle.layers
    values = F.max_pool2d(x, 12).reshape(2, -1)
    for layer in (first, second):
        values = F.leaky_relu(values @ layer.weight.T + layer.bias, 0.2)
    wanted = F.conv_transpose2d(
        values.reshape(2, 6, 2, 2), middle.spread.weight, middle.spread.bias, stride=8
    )
    assert_same(middle(x), wanted, [x, *middle.parameters()])


def test_another_size_is_interpolated_from_the_published_one() -> None:
    torch.manual_seed(0)
    middle = DenseMiddle(3, (), Pattern((4, 4), (2, 2)), 0.2, 0.0).double()
    x = random(1, 3, 6, 6)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    wanted = F.interpolate(middle(x), (12, 12), mode="bilinear")
    assert torch.allclose(middle(repeated), wanted, rtol=0, atol=1e-14)


def test_the_gate_is_guided_at_the_skips_own_resolution() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(8).double()
    guide, skip = random(2, 8, 6, 5).requires_grad_(), random(2, 8, 6, 5, seed=1).requires_grad_()

    def seen(layer: torch.nn.Conv2d, x: Tensor) -> Tensor:
        return F.instance_norm(F.conv2d(x, layer.weight, layer.bias))

    hidden = F.relu(seen(gate.mix, F.relu(seen(gate.guide, guide) + seen(gate.skip, skip))))
    wanted = skip / (1 + torch.exp(-seen(gate.weigh, hidden)))
    weights = [p for p in gate.parameters() if p.ndim == 4]
    assert_same(gate(guide, skip), wanted, [guide, skip, *weights])


def measured(kspace: Tensor, network: AttentionUnet, acceleration: int = 4) -> Measurement:
    mask = snu_mask(kspace.shape[-1], acceleration)
    return measure(kspace, [mask] * len(kspace), (32, 32), network.needs)


def tiny(**changes: object) -> AttentionUnet:
    torch.manual_seed(0)
    settings = NETWORKS["attention-unet"].tiny.model_copy(update=changes)
    return AttentionUnet(settings).double()  # type: ignore[arg-type]


def coils() -> Tensor:
    """(1, 1, 6, 40, 96) complex k-space with a peak."""
    y, x = np.meshgrid(np.arange(40) - 20, np.arange(96) - 48, indexing="ij")
    peak = torch.from_numpy(np.exp(-np.hypot(x, y) / 8))
    return torch.complex(random(1, 1, 6, 40, 96), random(1, 1, 6, 40, 96, seed=1)) * peak


def test_both_images_are_seen_each_standardised_alone() -> None:
    network, seen = tiny(), []
    m = measured(coils(), network)
    network.denoiser.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(m)
    (pair,) = seen
    images = torch.stack([m.zero_filled(), m.priors["grappa"]], 1)[..., 4:36, 32:64]
    wanted = (images - images.mean((2, 3), True)) / images.std((2, 3), keepdim=True)
    torch.testing.assert_close(pair, wanted)
    assert not torch.allclose(pair[:, 0], pair[:, 1], atol=0.05)


def test_a_fresh_network_gives_the_mean_of_two_images() -> None:
    network = tiny()
    m = measured(coils(), network)
    with torch.no_grad():
        network.denoiser.network.last.weight.zero_()
    images = torch.stack([m.zero_filled(), m.priors["grappa"]])[..., 4:36, 32:64]
    level = images.mean((0, 2, 3))
    found = network(m).image_BHW[..., 4:36, 32:64]
    torch.testing.assert_close(found, level[:, None, None].expand_as(found))


@pytest.mark.parametrize("seed", range(8))
def test_every_start_gives_an_image_and_a_gradient(seed: int) -> None:
    torch.manual_seed(seed)
    network = AttentionUnet(NETWORKS["attention-unet"].tiny).double()  # type: ignore[arg-type]
    image = network(measured(coils(), network)).image_BHW
    image.sum().backward()
    assert (image[..., 4:36, 32:64] > 0).double().mean() > 0.5
    assert network.combine.grad is not None
    assert network.combine.grad.abs().min() > 0
