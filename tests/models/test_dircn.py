"""DIRCN: sizes, its recursion in k-space, its parts, and what was published otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

import golden
from dealias.engine.policies import MemoryPolicy
from dealias.models.dircn import DIRCN, DIRCNSettings
from dealias.models.layers.dense_middle import DenseMiddle, Pattern, pooled
from dealias.models.layers.gated_unet import Gate
from dealias.models.layers.normalise import NormalisedDenoiser
from dealias.models.layers.residual import basic_block, bottleneck
from dealias.models.layers.resxunet import ResXUNet, Sizes
from dealias.models.published.table import PUBLISHED
from dealias.models.unrolled import State, image, weighted_consistency
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Needs, measure

OFF: dict[str, Any] = {"dense": False, "interconnections": False}
BASELINE: dict[str, Any] = {
    **OFF, "cascades": 12, "denoiser": "unet", "channels": 22, "groups": 1, "variational": True,
}  # fmt: skip
RESXUNET: dict[str, Any] = {"denoiser": "resxunet", "channels": 28, "groups": 4}
TEAM: dict[str, Any] = {"channels": 18, "groups": 1, "sens_channels": 8}
SMALL: dict[str, Any] = {"cascades": 3, "channels": 4, "groups": 2, "sens_channels": 2}
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"denoiser": "unet"},
    {"denoiser": "unet-fc", "dropout": 0.3},
    {"denoiser": "attention-unet-fc", "dropout": 0.3},
    {"denoiser": "unet", "dense": False},
    {"variational": True},
    {**OFF, "denoiser": "unet"},
)
every_variant = pytest.mark.parametrize(
    "changes", VARIANTS, ids=lambda changes: "-".join(map(str, changes.values())) or "published"
)


def built(**changes: Any) -> DIRCN:
    torch.manual_seed(0)
    return DIRCN(DIRCNSettings(**{**SMALL, **changes})).double()


def sampling(width: int, start: int, stop: int, every: int = 4) -> SamplingMask:
    return golden.mask({"width": width, "every": every, "first": 0, "acs": [start, stop]})


def measured(y: Tensor, *masks: SamplingMask) -> Measurement:
    return measure(y, masks * (len(y) if len(masks) == 1 else 1), tuple(y.shape[-2:]), Needs())


def assert_same(found: Tensor, wanted: Tensor, of: list[Tensor]) -> None:
    """Outputs and gradients, to 1e-10."""
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    weight = torch.randn_like(wanted)
    gradients = [torch.autograd.grad((one * weight).sum().real, of) for one in (found, wanted)]
    for a, b in zip(*gradients, strict=True):
        assert torch.linalg.norm(a - b) < 1e-10 * torch.linalg.norm(b)


@pytest.mark.parametrize(
    ("changes", "parameters", "keys"),
    [
        ({}, 60_982_445, 4990),
        ({"cascades": 2}, 4_402_873, 482),
        ({"cascades": 5}, 10_451_470, 965),
        ({"cascades": 6}, 12_468_389, 1126),
        ({"cascades": 12}, 24_577_463, 2092),
        ({"cascades": 6, "denoiser": "unet-fc", **TEAM}, 252_989_904, 608),
        ({"cascades": 5, "denoiser": "attention-unet-fc", **TEAM}, 189_705_398, 263),
    ],
    ids=lambda one: "-".join(map(str, one.values())) if isinstance(one, dict) else None,
)
def test_parameters_of_published_configurations(
    changes: dict[str, Any], parameters: int, keys: int
) -> None:
    with torch.device("meta"):
        network = DIRCN(DIRCNSettings(**changes))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == keys


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 45_086_006),
        ({"dense": True}, 45_112_142),
        (RESXUNET, 40_827_563),
        ({"interconnections": True}, 49_158_866),
        ({**RESXUNET, "dense": True, "interconnections": True, "variational": False}, 47_458_187),
    ],
    ids=["baseline", "dense", "ResXUNet", "interconnections", "DIRCN"],
)
def test_the_rows_of_the_papers_table_are_configurations(
    changes: dict[str, Any], parameters: int
) -> None:
    """The table says 45 million for the first and 47 for the last."""
    with torch.device("meta"):
        network = DIRCN(DIRCNSettings(**{**BASELINE, **changes}))
    assert sum(p.numel() for p in network.parameters()) == parameters


@every_variant
@pytest.mark.parametrize("hw", [(32, 36), (31, 43)])
def test_it_is_the_recursion_in_kspace(changes: dict[str, Any], hw: tuple[int, int]) -> None:
    network = built(**changes).eval()
    m = measured(golden.kspace((2, 1, 3, *hw)), sampling(hw[1], 15, 22))
    assert_same(network(m).image_BHW, by_kspace(network, m), [*network.parameters()][:9:2])


def by_kspace(network: DIRCN, m: Measurement) -> Tensor:
    """As published: multi-coil k-space goes from cascade to cascade, and lists of what was seen."""
    sens, y = network.sensitivity(m), m.kspace_BSCHW
    k, seen, features = y, [], ()
    for cascade in network.cascades:
        seen.insert(0, (sens.conj() * ifft(k, m.axes)).sum(2))
        out = cascade.denoiser(torch.cat(seen if cascade.dense else seen[:1], dim=1), features)
        z, features = out if cascade.interconnected else (out, ())
        model, weight = fft(sens * z.unsqueeze(2), m.axes), cascade.weight
        if cascade.variational:
            k = k - weight * torch.where(m.mask_B11HW, k - y, 0) - model
        else:
            k = torch.where(m.mask_B11HW, (y + weight * model) / (1 + weight), model)
    return ifft(k, m.axes).abs().square().sum(2).sqrt()[:, 0]


def test_without_weight_the_samples_are_restored() -> None:
    m = measured(golden.kspace((1, 1, 1, 32, 36)), sampling(36, 15, 22))
    A = m.operator(torch.ones_like(m.kspace_BSCHW))
    x = ifft(golden.kspace((1, 1, 1, 32, 36)), (-2,)).flip(-1)[:, :, 0]
    state = weighted_consistency(x, torch.zeros(1, dtype=torch.float64))
    assert isinstance(state, State)
    k = fft(image(state, A, A.adjoint(m.kspace_BSCHW)), m.axes)
    wanted = torch.where(m.mask_B11HW[:, 0], m.kspace_BSCHW[:, :, 0], fft(x, m.axes))
    assert torch.allclose(k, wanted, rtol=0, atol=1e-12)


def test_each_channel_is_normalised_alone_and_the_newest_is_given_back() -> None:
    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(1)[:, 2:4] * torch.arange(1, 13, dtype=x.dtype)

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, 12, dtype=torch.complex128, generator=generator).requires_grad_()
    found = NormalisedDenoiser(Mixing(), multiple=4, newest=True)(x)
    channels = [part for one in x.unbind(1) for part in (one.real, one.imag)]
    scaled = [
        (one - one.mean((1, 2), keepdim=True)) / one.std((1, 2), keepdim=True) for one in channels
    ]
    ramp = torch.arange(1, 13, dtype=torch.float64)
    parts = [
        sum(scaled[: 3 + i]) * ramp * one.std((1, 2), keepdim=True) + one.mean((1, 2), keepdim=True)
        for i, one in enumerate(channels[:2])
    ]
    assert_same(found, torch.complex(*parts).unsqueeze(1), [x])


@pytest.mark.parametrize(("kind", "groups"), [("basic", 1), ("basic", 2), ("bottleneck", 2)])
def test_blocks_are_residual_with_squeeze_and_excitation(kind: str, groups: int) -> None:
    torch.manual_seed(0)
    block = basic_block(8, groups, 4) if kind == "basic" else bottleneck(8, 4, groups, 4)
    block.double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    nn.init.constant_(block.gate.squeeze.bias, 5.0)  # else its ReLU might give nothing but zeros
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64, requires_grad=True)
    y = x
    for i, part in enumerate(block.convolutions):
        weight, padding = part.convolution.weight, part.convolution.weight.shape[-1] // 2
        y = F.conv2d(y, weight, padding=padding, groups=y.shape[1] // weight.shape[1])
        y = F.instance_norm(y, weight=part.norm.weight, bias=part.norm.bias)
        y = y * torch.sigmoid(y) if i + 1 < len(block.convolutions) else y
    gate = block.gate
    means = torch.relu(gate.squeeze(F.adaptive_avg_pool2d(y, 1)))
    y = x + torch.sigmoid(gate.excite(means)) * y
    assert gate.squeeze.out_channels == 2
    assert_same(block(x), y * torch.sigmoid(y), [x, *block.parameters()])


def test_the_gate_weighs_pixels() -> None:
    torch.manual_seed(0)
    gate = Gate(6, 3).double()
    a, x = torch.randn(2, 2, 6, 7, 5, dtype=torch.float64).requires_grad_().unbind(0)
    both = F.instance_norm(gate.decoded(a)) + F.instance_norm(gate.skip(x))
    score = torch.sigmoid(F.instance_norm(gate.score(torch.relu(both))))
    assert score.shape == (2, 1, 7, 5)
    assert_same(gate(a, x), x * score, [a, x, gate.skip.weight])


def test_histories_are_new_tuples_newest_first() -> None:
    network = built(**SMALL)
    seen: list[tuple[Any, ...]] = []
    for cascade in network.cascades:
        cascade.register_forward_pre_hook(lambda _, given: seen.append(given[3:]))
    network(measured(golden.kspace((1, 1, 2, 32, 36)), sampling(36, 15, 22)))
    inputs, features = zip(*seen, strict=True)
    assert [len(one) for one in inputs] == [0, 1, 2]
    assert inputs[2][1] is inputs[1][0]
    assert [len(one) for one in features] == [0, 4, 4]
    assert [one.shape[1] for one in features[1]] == [4, 8, 16, 32]
    assert [one.shape[-1] for one in features[1]] == [48, 24, 12, 6]
    assert not {*map(id, features[1])} & {*map(id, features[2])}


def test_a_linked_decoder_sees_every_level_of_the_one_before() -> None:
    torch.manual_seed(0)
    network = ResXUNet(2, 2, Sizes(4, 2, 8), linked=True, shown=True).double()
    x = torch.randn(1, 2, 16, 32, dtype=torch.float64)
    earlier = tuple(
        torch.randn(1, 4 * 2**i, 16 // 2**i, 32 // 2**i, dtype=torch.float64, requires_grad=True)
        for i in range(4)
    )
    for gradient in torch.autograd.grad(network(x, earlier)[0].square().sum(), earlier):
        assert gradient.abs().amax() > 1e-6


@pytest.mark.parametrize("hw", [(8, 10), (7, 13), (3, 2), (48, 25)])
def test_cells_are_those_of_adaptive_pooling(hw: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *hw, dtype=torch.float64, generator=generator).requires_grad_()
    assert_same(pooled(x, (4, 5)), F.adaptive_max_pool2d(x, (4, 5)), [x])


def test_the_linear_layer_is_the_published_one_at_its_size() -> None:
    torch.manual_seed(0)
    layer = DenseMiddle(3, (), Pattern((12, 5), (12, 5), (4, 5)), 0.2, 0.5).double().eval()
    x = torch.randn(2, 3, 48, 25, dtype=torch.float64, requires_grad=True)
    values = F.leaky_relu(layer.layers[0](F.max_pool2d(x, (12, 5)).reshape(2, -1)), 0.2)
    wanted = layer.spread(values.reshape(2, 3, 4, 5))
    assert_same(layer(x), wanted, [x, *layer.parameters()])


# what was published otherwise


def published_acs(mask: SamplingMask) -> tuple[int, int]:
    """Columns from the unsampled line on the left to that on the right, centred anew."""
    off = np.flatnonzero(~mask.lines)
    cut = len(mask.lines) // 2
    count = off[off >= cut][0] - off[off < cut][-1]
    start = (len(mask.lines) - count + 1) // 2
    return start, start + count


def test_the_acs_region_is_the_masks() -> None:
    """Published, its width was guessed: a line that touches it counted, one opposite as well."""
    alone, touched = sampling(28, 11, 17), sampling(28, 11, 16)
    assert published_acs(alone) == (11, 18)  # one line more, which holds nothing
    assert touched.lines[16]
    assert published_acs(touched) == (11, 18)
    network, y = built(cascades=1), golden.kspace((1, 1, 2, 32, 28))
    maps = [network.sensitivity(measured(y, mask)) for mask in (alone, touched)]
    assert not torch.allclose(*maps)
    y[..., 16] *= 2
    assert torch.equal(network.sensitivity(measured(y, touched)), maps[1])


def test_full_sampling_has_an_acs_region_and_each_item_its_mask() -> None:
    """Published, no unsampled line was an error, and so were two masks of one batch."""
    full = SamplingMask(np.ones(36, bool), (0, 36))
    with pytest.raises(IndexError):
        published_acs(full)
    network, y = built().eval(), golden.kspace((2, 1, 2, 32, 36))
    both = network(measured(y, full, sampling(36, 15, 22))).image_BHW
    for item, mask in enumerate((full, sampling(36, 15, 22))):
        alone = network(measured(y[item : item + 1], mask)).image_BHW
        assert torch.linalg.norm(both[item] - alone) < 1e-10 * torch.linalg.norm(alone)


@every_variant
def test_a_blank_slice_is_zero_at_any_size(changes: dict[str, Any]) -> None:
    """Published, it was not a number; and linear layers took 768x400 alone."""
    network = built(**changes)
    for hw in ((16, 20), (33, 35), (9, 52)):
        y = golden.kspace((2, 1, 2, *hw))
        y[0] = 0
        blank, other = network(measured(y, sampling(hw[1], 8, 12))).image_BHW
        assert torch.equal(blank, torch.zeros_like(blank))
        assert torch.isfinite(other).all()
        other.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())


# what the table's tests do for the published denoiser alone


def results(network: DIRCN) -> list[Tensor]:
    network.zero_grad()
    m = measured(golden.kspace((2, 1, 3, 33, 28)), sampling(28, 11, 17))
    torch.manual_seed(7)
    found = network(m).image_BHW
    found.square().mean().backward()
    return [found.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


@every_variant
@pytest.mark.parametrize(
    "policy",
    [
        MemoryPolicy(cascades="recompute", blocks="recompute"),
        pytest.param(MemoryPolicy(cascades="keep_convolutions"), marks=pytest.mark.slow),
        pytest.param(MemoryPolicy(blocks="keep_convolutions"), marks=pytest.mark.slow),
    ],
    ids=["recompute", "keep cascades' convolutions", "keep blocks' convolutions"],
)
def test_recomputed_it_is_the_same(changes: dict[str, Any], policy: MemoryPolicy) -> None:
    network = built(**changes)
    wanted = results(network)
    policy.apply(network)
    found = results(network)
    assert len(found) == len(wanted) == 1 + len(list(network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@every_variant
def test_a_batch_is_its_items_and_meta_runs_it(changes: dict[str, Any]) -> None:
    network, y = built(**changes).eval(), golden.kspace((2, 1, 3, 33, 28))
    y[1] *= 50
    mask = sampling(28, 11, 17)
    both = network(measured(y, mask)).image_BHW
    for item in range(2):
        alone = network(measured(y[item : item + 1], mask)).image_BHW
        assert torch.linalg.norm(both[item] - alone) < 1e-9 * torch.linalg.norm(alone)
    assert network.to("meta")(measured(y.to("meta"), mask)).image_BHW.shape == (2, 33, 28)


# settings


@pytest.mark.parametrize("changes", [{"groups": 3}, {"sens_groups": 5}])
def test_groups_divide_channels(changes: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="groups must divide channels"):
        DIRCNSettings(**changes)


@pytest.mark.parametrize("name", sorted(path.stem for path in golden.FOLDER.glob("dircn*.json")))
def test_settings_are_read_from_shapes(name: str) -> None:
    case = golden.read(name)
    shapes = {key: torch.Size(shape) for key, shape in case["shapes"].items()}
    found = PUBLISHED[case["published"]].settings(shapes).model_dump(mode="json")
    wanted = DIRCNSettings.model_validate(case["settings"]).model_dump(mode="json")
    assert {**found, **told(wanted)} == {**wanted, **told(wanted)}


def told(settings: dict[str, Any]) -> dict[str, Any]:
    """What shapes do not tell."""
    return {key: settings[key] for key in ("dropout", "variational")}


def test_data_consistency_begins_almost_hard() -> None:
    weights = [cascade.weight.detach() for cascade in DIRCN(DIRCNSettings(**SMALL)).cascades]
    assert torch.equal(torch.cat(weights), torch.full((3,), 0.01))
