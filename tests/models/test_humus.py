"""HUMUS-Net: published sizes, its mathematics, and what was wrong with it as published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

import golden
from dealias.models.humus import Humus, HumusSettings
from dealias.models.layers.humus_block import Expand, HumusBlock, Merge, Sizes
from dealias.models.layers.reflect import ReflectedDenoiser, reflected
from dealias.models.layers.swin import SwinLayer, WindowAttention, same_region
from dealias.models.published.humus import HUMUS
from dealias.physics.coils import rss
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure, residual

SMALL: dict[str, Any] = {
    "cascades": 1, "features": 8, "window": 2, "depths": (2,), "heads": (2,), "bottleneck_heads": 4,
    "sens_channels": 2, "sens_pools": 2, "dropout": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, 109_269_050), ({"features": 96}, 228_524_570), ({"slices": 1}, 109_250_010)],
    ids=["published", "large", "Stanford"],
)
def test_parameters_of_published_configurations(changes: dict[str, Any], wanted: int) -> None:
    with torch.device("meta"):
        network = Humus(HumusSettings.model_validate(changes))
    assert sum(p.numel() for p in network.parameters()) == wanted


def test_the_published_size_needs_no_padding_and_nothing_stored_depends_on_a_size() -> None:
    assert HumusSettings().sizes().multiple == 128  # of 384
    with torch.device("meta"):
        network = Humus(HumusSettings())
    assert list(network.buffers()) == []


@pytest.mark.parametrize("name", ["humus", "humus-odd", "humus-single", "humus-published"])
def test_settings_come_from_the_shapes_of_weights(name: str) -> None:
    case = golden.read(name)
    shapes = {key: torch.Size(shape) for key, shape in case["shapes"].items()}
    wanted = HumusSettings.model_validate({**case["settings"], "dropout": 0.1})
    assert HUMUS.settings(shapes) == wanted


def test_stored_masks_and_indices_are_dropped() -> None:
    block = "cascades.0.model.layers_down.0.residual_group.blocks.1."
    assert HUMUS.rename(f"{block}attn_mask") is None
    assert HUMUS.rename(f"{block}attn.relative_position_index") is None
    assert HUMUS.rename("loss.w") is None


@pytest.mark.parametrize(
    "changes",
    [{"depths": (2, 2)}, {"features": 67}, {"heads": (3, 6, 7)}, {"bottleneck_heads": 25}],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"depths and heads|multiple of its heads"):
        HumusSettings.model_validate(changes)


@pytest.mark.parametrize("hw", [(6, 6), (6, 9), (12, 9)])
def test_shifted_windows_see_what_was_near_and_nothing_else(hw: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = SwinLayer(4, 2, 3, 1, 2).double()
    x = torch.randn(2, *hw, 4, dtype=torch.float64, requires_grad=True)
    y = x + attended(layer, layer.attention_norm(x))
    wanted = y + layer.perceptron(layer.perceptron_norm(y))
    assert_same(layer(x), wanted, [x, *layer.parameters()])


def attended(layer: SwinLayer, x: Tensor) -> Tensor:
    """Attention pixel by pixel: windows are cut at rows and columns of a shifted grid."""
    attention, (height, width) = layer.attention, x.shape[1:3]
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    out = torch.zeros_like(x)
    for i, j in np.ndindex(height, width):
        near = [(y, z) for y, z in np.ndindex(height, width)
                if (y + 2) // 3 == (i + 2) // 3 and (z + 2) // 3 == (j + 2) // 3]  # fmt: skip
        heads = []
        for head in range(2):
            part = slice(2 * head, 2 * head + 2)
            scores = [
                (q[:, i, j, part] * k[:, y, z, part]).sum(-1) / 2**0.5
                + attention.table[(i - y + 2) * 5 + j - z + 2, head]
                for y, z in near
            ]
            weights = torch.softmax(torch.stack(scores, -1), -1)
            values = torch.stack([v[:, y, z, part] for y, z in near], 1)
            heads.append((weights[..., None] * values).sum(1))
        out = out.index_put(
            (torch.arange(len(x)), torch.tensor(i), torch.tensor(j)), torch.cat(heads, -1)
        )
    return attention.project(out)


def test_one_window_is_not_shifted() -> None:
    torch.manual_seed(0)
    layer = SwinLayer(4, 2, 3, 1, 2).double()
    x = torch.randn(1, 3, 9, 4, dtype=torch.float64)
    plain = SwinLayer(4, 2, 3, 0, 2).double()
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), plain(x))


def test_opposite_edges_never_meet_however_large_the_scores() -> None:
    """Published, -100 is added to their scores, which large ones overcome."""
    torch.manual_seed(0)
    attention = WindowAttention(2, 1, 2).double()
    with torch.no_grad():
        attention.qkv.weight.mul_(3000)
        attention.table.zero_()
    allowed = same_region(4, 4, 2, 1, torch.device("cpu"))
    windows = torch.randn(1, 4, 4, 2, dtype=torch.float64)
    changed = windows.clone()
    changed[0, 3, 3] += 1  # in the last window, each pixel is a corner of the image
    found, other = attention(windows, allowed), attention(changed, allowed)
    assert torch.equal(found[0, :3], other[0, :3])
    assert torch.equal(found[0, 3, :3], other[0, 3, :3])
    q, k, v = attention.qkv(windows).chunk(3, -1)
    leaky = (q @ k.mT / 2**0.5 - 100 * ~allowed).softmax(-1) @ v
    assert float((attention.project(leaky) - found).detach().abs().max()) > 1e-3


def test_merging_and_expanding_are_the_published_ones() -> None:
    torch.manual_seed(0)
    merge, expand = Merge(3).double(), Expand(4).double()
    x = torch.randn(2, 4, 6, 3, dtype=torch.float64, requires_grad=True)
    four = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    wanted = F.layer_norm(torch.cat(four, -1), (12,), merge.norm.weight, merge.norm.bias)
    assert_same(merge(x), wanted @ merge.reduce.weight.T, [x, *merge.parameters()])
    x = torch.randn(2, 2, 3, 8, dtype=torch.float64, requires_grad=True)
    skip = torch.randn(2, 4, 6, 4, dtype=torch.float64, requires_grad=True)
    wide = torch.zeros(2, 4, 6, 4, dtype=torch.float64)
    for number, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        part = expand.expand.weight[4 * number : 4 * number + 4]
        wide = wide.index_put(
            (torch.arange(2)[:, None, None], torch.arange(i, 4, 2)[:, None], torch.arange(j, 6, 2)),
            x @ part.T,
        )
    mixed = torch.cat([wide, skip], -1) @ expand.mix.weight.T
    wanted = F.layer_norm(mixed, (4,), expand.norm.weight, expand.norm.bias)
    assert_same(expand(x, skip), wanted, [x, skip, *expand.parameters()])


def test_stochastic_depth_leaves_out_whole_residuals_of_items() -> None:
    torch.manual_seed(0)
    layer = SwinLayer(4, 2, 3, 0, 2, dropout=0.5).double()
    x = torch.randn(64, 3, 3, 4, dtype=torch.float64)
    attention = layer._attend(layer.attention_norm(x))
    kinds = []
    for out, one, residual_of in zip(layer(x), x, attention, strict=True):
        after = [one + share * residual_of for share in (0, 2)]
        ends = [y + share * layer.perceptron(layer.perceptron_norm(y))
                for y in after for share in (0, 2)]  # fmt: skip
        kinds.append([bool(torch.allclose(out, end)) for end in ends].index(True))
    assert np.bincount(kinds, minlength=4).min() > 4
    layer.eval()
    whole = x + attention
    assert torch.equal(layer(x), whole + layer.perceptron(layer.perceptron_norm(whole)))


def test_depths_share_their_rates_in_encoder_and_decoder_and_the_bottleneck_drops_nothing() -> None:
    settings = HumusSettings(**{**SMALL, "depths": (1, 2), "heads": (2, 2), "dropout": 0.2})
    block = HumusBlock(2, settings.sizes())
    rates = [
        [layer.dropout.p for layer in group.swin] for group in (*block.encoder, *block.decoder)
    ]
    wanted = [[0], [0.1, 0.2], [0.1, 0.2], [0]]
    for found, row in zip(rates, wanted, strict=True):
        assert found == pytest.approx(row)
    assert [layer.dropout.p for layer in block.bottleneck.swin] == [0, 0]


@pytest.mark.parametrize(("size", "before", "after"), [(9, 3, 8), (9, 0, 1), (5, 4, 0)])
def test_reflection_is_that_of_torch(size: int, before: int, after: int) -> None:
    x = torch.randn(2, 3, size)
    assert torch.equal(reflected(x, -1, before, after), F.pad(x, (before, after), mode="reflect"))
    assert torch.equal(reflected(x.mT, -2, before, after).mT, reflected(x, -1, before, after))


def test_reflection_goes_back_and_forth_where_torch_refuses() -> None:
    x = torch.tensor([1, 2, 3])
    assert reflected(x, 0, 5, 6).tolist() == [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1]
    assert reflected(x[:1], 0, 2, 1).tolist() == [1, 1, 1, 1]


def test_an_image_is_reflected_then_normalised_then_cropped() -> None:
    network = nn.Conv2d(4, 4, 1).double()
    denoiser = ReflectedDenoiser(network, groups=4, multiple=8)
    x = torch.randn(1, 2, 7, 5, dtype=torch.complex128)
    wide = torch.cat([x.real, x.imag], 1)
    wide = F.pad(wide, (1, 2, 0, 1), mode="reflect")
    mean, std = wide.mean((-2, -1), keepdim=True), wide.std((-2, -1), keepdim=True)
    y = network((wide - mean) / std) * std + mean
    wanted = torch.complex(y[:, :2], y[:, 2:])[..., :7, 1:6]
    assert torch.allclose(denoiser(x), wanted, rtol=1e-12)


def test_joint_maps_are_of_unit_norm_over_slices_and_coils_and_those_given_back_of_each() -> None:
    torch.manual_seed(0)
    network = Humus(HumusSettings(**SMALL)).double()
    m = measure(golden.kspace((1, 3, 4, 20, 24)), [snu_mask(24, 4)], (20, 24), network.needs)
    maps = network.sensitivity(m)
    assert torch.allclose(rss(maps.flatten(1, 2), 1), torch.ones(1, 20, 24, dtype=torch.float64))
    estimate = network(m)
    assert estimate.sens_BSCHW is not None
    assert torch.allclose(
        rss(estimate.sens_BSCHW, 2), torch.ones(1, 3, 20, 24, dtype=torch.float64)
    )
    own = Humus(HumusSettings(**SMALL, joint_maps=False)).double()
    own.load_state_dict(network.state_dict())
    assert torch.allclose(own.sensitivity(m), estimate.sens_BSCHW)
    assert not torch.allclose(own(m).image_BHW, estimate.image_BHW, rtol=1e-3)


def test_without_refinement_the_combined_image_is_judged_with_maps_of_unit_norm() -> None:
    """One coil of three alike slices: the residual is 0; with joint maps it would be 2/3."""
    torch.manual_seed(0)
    network = Humus(HumusSettings(**SMALL)).double()
    network.cascades[0].denoiser.register_forward_hook(lambda module, args, out: 0 * out)
    y = golden.kspace((1, 1, 1, 20, 24)).expand(-1, 3, -1, -1, -1)
    m = measure(y, [snu_mask(24, 4)], (20, 24), network.needs)
    with torch.no_grad():
        estimate, maps = network(m), network.sensitivity(m)
    estimate = estimate._replace(coil_images_BSCHW=None)
    assert float(residual(m, estimate)) < 1e-12
    combined = (maps.conj() * m.coil_images()).sum(2)
    joint = residual(m, estimate._replace(combined_BSHW=combined, sens_BSCHW=maps))
    assert float(joint) == pytest.approx(2 / 3)


def test_sizes_are_multiples_of_whole_windows() -> None:
    assert Sizes(8, 4, (1, 1), (1, 1), 1, 1, 2, 0).multiple == 32


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
        assert torch.linalg.norm(a - b) < 1e-10 * max(1.0, float(torch.linalg.norm(b)))
