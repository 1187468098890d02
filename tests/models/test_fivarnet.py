"""FI-VarNet: published sizes, any order of stages, and what we compute another way."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import golden
from dealias.models.fivarnet import FeatureStage, FIVarNet, FIVarNetSettings, ImageStage
from dealias.models.layers.alias_attention import AliasAttention, attend, position_code
from dealias.models.layers.feature_unet import FeatureUNet
from dealias.models.published.fivarnet import FIVARNET, LSKA
from dealias.models.table import build_network
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, measure

ALIAS = FeatureStage(cascades=1, attention="alias")
PLAIN = FeatureStage(cascades=1)
IMAGE = ImageStage(cascades=1)
SMALL: dict[str, Any] = {
    "features": 3, "channels": 2, "image_channels": 2, "pools": 1, "sens_channels": 2,
    "sens_pools": 1, "anchors": 3,
}  # fmt: skip
GEEKSEEK: dict[str, Any] = {"features": 12, "channels": 24, "sens_channels": 8}


def alias(cascades: int) -> FeatureStage:
    return FeatureStage(cascades=cascades, attention="alias")


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 187_123_828),
        ({"features": 18, "image_channels": 18}, 123_193_654),
        ({**GEEKSEEK, "stages": (alias(15), ImageStage(cascades=3)), "image_channels": 24},
         79_122_988),
        ({**GEEKSEEK, "stages": (FeatureStage(cascades=5, large_kernels=True),
                                 FeatureStage(cascades=10), ImageStage(cascades=3)),
          "image_channels": 18}, 67_625_464),
        ({"stages": (FeatureStage(cascades=3, attention="psf", convolutions=False),
                     FeatureStage(cascades=13)), "features": 9, "adaptive": False}, 124_645_591),
    ],
    ids=["training script", "code", "GeekSeek", "GeekSeek, LSKA", "GeekSeek, PSF"],
)  # fmt: skip
def test_parameters_of_published_configurations(changes: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = FIVarNet(FIVarNetSettings(**changes))
    assert sum(p.numel() for p in network.parameters()) == parameters


def network(*stages: FeatureStage | ImageStage, **changes: Any) -> FIVarNet:
    """Small, float64, with steps that are not 1."""
    torch.manual_seed(0)
    made = FIVarNet(FIVarNetSettings(stages=stages, **{**SMALL, **changes})).double().eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("step"):
                parameter.uniform_(0.3, 0.9)
    return made


def measured(*masks: SamplingMask, hw: tuple[int, int] = (18, 24)) -> Measurement:
    y = golden.kspace((len(masks), 1, 3, *hw))
    return measure(y, masks, hw, FIVarNet(FIVarNetSettings(stages=(IMAGE,), **SMALL)).needs)


def off(found: Tensor, wanted: Tensor) -> float:
    return float(torch.linalg.norm((found - wanted).detach()) / torch.linalg.norm(wanted.detach()))


X4, X8 = snu_mask(24, 4), snu_mask(24, 8)


@pytest.mark.parametrize("attention", ["alias", "psf"])
def test_one_model_has_each_items_own_aliases(attention: Any) -> None:
    model = network(FeatureStage(cascades=2, attention=attention), IMAGE)
    together = model(measured(X4, X8, X4)).image_BHW
    y = golden.kspace((3, 1, 3, 18, 24))
    for item, mask in enumerate((X4, X8, X4)):
        m = measure(y[item : item + 1], [mask], (18, 24), model.needs)
        assert off(together[item], model(m).image_BHW[0]) < 1e-10


def test_the_number_of_aliases_is_the_masks_own() -> None:
    assert measured(X4, X8).accelerations == (4, 8)
    model = network(ALIAS)
    m = measured(X8)
    constant = dataclasses.replace(m, accelerations=(4,))
    assert off(model(constant).image_BHW, model(m).image_BHW) > 1e-3
    unknown = dataclasses.replace(m, accelerations=())
    with pytest.raises(ValueError, match="0 accelerations for 1 items"):
        model(unknown)
    assert off(network(PLAIN)(unknown).image_BHW, network(PLAIN)(m).image_BHW) == 0


def test_anchors_are_aliases_and_not_the_blur_of_the_acs_lines() -> None:
    """Aliases between pixels are lower than it."""
    mask = snu_mask(372, 8)
    anchors = (
        network(FeatureStage(attention="psf"), anchors=8)
        ._folding(measured(mask, hw=(2, 372)))
        .anchors_BK2
    )
    assert anchors is not None
    columns = sorted(anchors[0, :, 1].tolist())
    wanted = sorted((turn * 46.5 + 186) % 372 - 186 for turn in range(8))
    assert all(abs(a - b) <= 0.5 for a, b in zip(columns, wanted, strict=True))


@pytest.mark.parametrize("width", [12, 13, 10])
@pytest.mark.parametrize("count", [1, 3, 4, 20])
def test_attention_is_its_formula(width: int, count: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 5, 3, width, dtype=torch.float64)
    found = attend(query, key, value, count)
    count = min(count, width)
    extra = -width % count
    left = extra - extra // 2
    apart = (width + extra) // count
    mirrored = [abs(w) if w < width else 2 * (width - 1) - w for w in range(-left, width + extra)]
    for w in range(width):
        first = (w + left) % apart
        places = [mirrored[first + turn * apart] for turn in range(count)]
        scores = torch.einsum("nch,nchk->nhk", query[..., w], key[..., places]) / 5**0.5
        wanted = torch.einsum("nhk,nchk->nch", scores.softmax(-1), value[..., places])
        assert torch.linalg.norm(found[..., w] - wanted) < 1e-12 * torch.linalg.norm(wanted)


def test_alias_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    block = AliasAttention(3).double()
    x = torch.randn(2, 3, 5, 9, dtype=torch.float64, requires_grad=True)
    h, w = torch.arange(5).double()[:, None], (torch.arange(9) // 2).double()
    y = F.instance_norm(x) + torch.sin(h * 10_000.0 ** (-2.0 * w / 9))
    convolve = [
        F.conv2d(own(y), block.around.weight, block.around.bias, padding=2, dilation=2)
        for own in (block.query, block.key, block.value)
    ]
    wanted = x + block.last(torch.cat([attend(*(one[:1] for one in convolve), 3),
                                       attend(*(one[1:] for one in convolve), 2)]))  # fmt: skip
    found = block(x, (3, 2))
    assert off(found, wanted) < 1e-12
    grads = [torch.autograd.grad(one.square().sum(), [x, *block.parameters()])
             for one in (found, wanted)]  # fmt: skip
    size = max(float(torch.linalg.norm(one)) for one in grads[1])
    assert all(torch.linalg.norm(a - b) < 1e-10 * size for a, b in zip(*grads, strict=True))


def test_the_code_of_positions_is_made_in_the_features_precision() -> None:
    exact = position_code(700, 400, torch.zeros(1, dtype=torch.float64))
    for dtype, bound in ((torch.float32, 1e-4), (torch.bfloat16, 5e-3)):
        code = position_code(700, 400, torch.zeros(1, dtype=dtype))
        assert code.dtype == dtype
        assert (code.double() - exact).abs().max() < bound


def plain_unet(unet: FeatureUNet, x: Tensor) -> Tensor:
    """Its formula, as a recursion."""

    def level(x: Tensor, depth: int) -> Tensor:
        x = unet.down[depth](x)
        if depth == len(unet.up):
            return x
        below = unet.up[depth](level(F.avg_pool2d(x, 2), depth + 1))
        return unet.decode[depth](torch.cat([x, below], dim=1))

    bottom, right = (-size % 2 ** len(unet.up) for size in x.shape[-2:])
    y = level(F.pad(x, (0, right, 0, bottom), mode="reflect"), 0)
    y = F.leaky_relu(F.instance_norm(F.conv2d(y, unet.last.weight)), 0.2)
    return y[..., : x.shape[-2], : x.shape[-1]]


def recursion(model: FIVarNet, m: Measurement, scale: float) -> Tensor:
    """The published recursion on multi-coil k-space times a scale, of feature cascades alone."""
    sens = model.sensitivity(m)
    y = m.kspace_BSCHW * scale
    A = m.operator(sens)
    parts = torch.view_as_real(A.adjoint(y)[:, 0]).movedim(-1, 1)
    mean, variance = parts.mean((2, 3), keepdim=True), parts.var((2, 3), False, keepdim=True)

    def encode(codec: Any, image: Tensor) -> Tensor:
        real = torch.view_as_real(image[:, 0]).movedim(-1, 1)
        return codec.encoder.network((real - mean) / variance.sqrt())

    def decode(codec: Any, features: Tensor) -> Tensor:
        real = codec.decoder.network(features) * variance.sqrt() + mean
        return torch.view_as_complex(real.movedim(1, -1).contiguous())[:, None]

    f = encode(model.codecs[0], A.adjoint(y))
    for number, cascade in enumerate(model.feature_cascades):
        codec = model.codecs[number + 1] if len(model.codecs) > 1 else model.codecs[0]
        f = F.instance_norm(f)
        change = A.adjoint(A.forward(decode(codec, f)) - y)
        g = f
        if cascade.refiner.network.attention is not None:
            g = cascade.refiner.network.attention(g, m.accelerations)
        new = f - cascade.step * encode(codec, change) - plain_unet(cascade.refiner.network.unet, g)
        if number % 3 == 0:
            new = F.instance_norm(new)
            new = new + cascade.convolutions.network(new)
        f = new
    image = decode(model.codecs[0], F.instance_norm(f))
    return torch.linalg.vector_norm(sens[:, 0] * image, dim=1) / scale


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("pools", [1, 3])
def test_it_is_the_published_recursion_for_batches_and_own_codecs(shared: bool, pools: int) -> None:
    """The published one scales k-space by a million, takes one item, and carries k-space."""
    model = network(alias(2), FeatureStage(cascades=3), shared=shared, pools=pools)
    m = measured(X4, X8, hw=(17, 24))
    found, wanted = model(m).image_BHW, recursion(model, m, 1e6)
    assert off(found, wanted) < 1e-11
    weight = golden.drawn("image", found.shape)
    of = list(model.parameters())
    grads = [torch.autograd.grad((one * weight).sum(), of) for one in (found, wanted)]
    size = max(float(torch.linalg.norm(one)) for one in grads[1])
    for a, b in zip(*grads, strict=True):
        assert torch.linalg.norm(a - b) < 1e-10 * max(torch.linalg.norm(b), 1e-3 * size)


def test_own_codecs_that_are_alike_are_a_shared_one() -> None:
    own, shared = network(alias(2), shared=False), network(alias(2))
    state = own.state_dict()
    for name in list(state):
        if name.startswith("codecs."):
            state[name] = state["codecs.0." + name.split(".", 2)[2]]
    own.load_state_dict(state)
    shared.load_state_dict({name: state[name] for name in shared.state_dict()})
    m = measured(X4)
    assert off(own(m).image_BHW, shared(m).image_BHW) < 1e-12
    assert len(network(alias(2), IMAGE, PLAIN, shared=False).codecs) == 1 + 3


def test_stages_side_by_side_are_one_and_those_apart_are_not() -> None:
    m = measured(X4)
    one, two = network(alias(2), IMAGE), network(ALIAS, ALIAS, IMAGE)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(m).image_BHW, two(m).image_BHW)
    apart = network(ALIAS, IMAGE, ALIAS)
    apart.load_state_dict(one.state_dict())
    assert off(apart(m).image_BHW, one(m).image_BHW) > 1e-3


@pytest.mark.parametrize(
    "stages",
    [
        (IMAGE,),
        (IMAGE, PLAIN, IMAGE, ALIAS),
        (FeatureStage(cascades=1, attention="psf"), PLAIN, IMAGE),
        (FeatureStage(cascades=2, large_kernels=True), IMAGE),
    ],
    ids=lambda stages: "-".join(f"{one.space}{one.cascades}" for one in stages),
)
@pytest.mark.parametrize("hw", [(18, 24), (9, 7), (3, 5)])
def test_any_split_and_order(stages: Any, hw: tuple[int, int]) -> None:
    model = network(*stages, pools=2)
    image = model(measured(snu_mask(hw[1], 4), snu_mask(hw[1], 2), hw=hw)).image_BHW
    image.sum().backward()
    assert image.shape == (2, *hw)
    assert torch.isfinite(image).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_images_alone_have_no_codec() -> None:
    assert not any("codec" in name for name in network(IMAGE).state_dict())


def test_masks_over_both_axes() -> None:
    lines = torch.zeros(18, 24, dtype=torch.bool)
    lines[::2, ::2] = lines[7:11, 10:14] = True
    mask = SamplingMask(lines.numpy(), (10, 14), acs_rows=(7, 11))
    model = network(ALIAS, FeatureStage(cascades=1, attention="psf"), IMAGE)
    m = measured(mask)
    assert m.accelerations == (round(mask.effective),)
    assert torch.isfinite(model(m).image_BHW).all()


def test_a_stage_refuses_what_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="attention"):
        FIVarNetSettings.model_validate({"stages": [{"space": "image", "attention": "alias"}]})
    with pytest.raises(ValueError, match="stages"):
        FIVarNetSettings(stages=())


@pytest.mark.parametrize("name", ["fivarnet", "fivarnet-plain", "fivarnet-lska-tanh-23"])
def test_settings_are_read_from_published_shapes(name: str) -> None:
    case = golden.read(name)
    published = {one.name: one for one in (FIVARNET, LSKA)}[case["published"]]
    shapes = {key: torch.Size(shape) for key, shape in case["shapes"].items()}
    settings = published.settings(shapes)
    assert settings == FIVarNetSettings.model_validate(case["settings"])
    build_network(settings).load_state_dict(published.convert(golden.weights(shapes)))


def test_keys_under_which_the_published_file_repeats_itself_are_dropped() -> None:
    for key in ("cascades.3.encoder.encoder.0.weight", "cascades.0.zero", "loss.w",
                "feat_cascades.0.dc_weight", "cascades.11.decoder.decoder.bias"):  # fmt: skip
        assert FIVARNET.rename(key) is None


def test_a_block_crop_changes_its_inside_as_a_smaller_unet_would_and_nothing_else() -> None:
    """Attention sees everything; the U-Net's change is 0 outside, so consistency stays whole."""
    plain, cropped = network(ALIAS), network(ALIAS, block_crop=(10, 16))
    cropped.load_state_dict(plain.state_dict())
    x = golden.drawn("features", (2, 3, 18, 24))
    refiner = cropped.feature_cascades[0].refiner.network
    found = refiner(x, (4, 8))
    attended = refiner.attention(x, (4, 8))
    rows, columns = slice(4, 14), slice(4, 20)
    assert (
        off(found[..., rows, columns], plain_unet(refiner.unet, attended[..., rows, columns]))
        < 1e-12
    )
    outside = torch.ones(18, 24, dtype=torch.bool)
    outside[rows, columns] = False
    assert not found[..., outside].any()
    m = measured(X4)
    assert off(cropped(m).image_BHW, plain(m).image_BHW) > 1e-3
    # as large as the data or larger: no crop
    whole = network(ALIAS, block_crop=(18, 400))
    whole.load_state_dict(plain.state_dict())
    assert torch.equal(whole(m).image_BHW, plain(m).image_BHW)
