"""Weights of PromptMR, PromptMR+ and sMaRtIfy: every key of a file is used, or dropped by name."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Size

from dealias.errors import CheckpointError
from dealias.models.network import Network
from dealias.models.promptmr import PromptMRSettings, PromptSettings
from dealias.models.promptmr_plus import PromptMRPlusSettings
from dealias.models.published.promptmr import IMAGE_STATE, KSPACE_STATE, PROMPTMR, SMARTIFY
from dealias.models.published.source import Published
from dealias.models.published.table import PUBLISHED
from dealias.models.table import NETWORKS, build_network

NARROW: dict[str, Any] = {
    "features": (8, 24, 32, 40), "prompt_channels": (8, 16, 24), "sens_features": (8, 12, 16, 20),
    "sens_prompt_channels": (4, 8, 12), "prompts": (3, 3, 3), "prompt_size": (16, 8, 4),
}  # fmt: skip
FINAL = PromptMRPlusSettings(cascades=8, slices=1, history=3, reduction=2, **NARROW)
SMALL: dict[str, Any] = {
    **NARROW, "cascades": 2, "encoder": (2, 1, 3), "decoder": (1, 0, 2), "skip": (0, 2, 1),
    "bottleneck": 0, "reduction": 3,
}  # fmt: skip
EJ = PromptMRPlusSettings(
    cascades=8, slices=3, history=0, features=(48, 64, 80, 96), prompt_channels=(16, 32, 48),
    sens_features=(12, 16, 20, 24), sens_prompt_channels=(4, 8, 12), reduction=None,
)  # fmt: skip


def block(at: str, gated: bool) -> Iterator[str]:
    inside = ["body.0", "body.1", "body.2", *["CA.conv_du.0", "CA.conv_du.2"] * gated]
    return (f"{at}.{one}.weight" for one in inside)


def blocks(at: str, count: int, s: PromptSettings) -> Iterator[str]:
    for number in range(count):
        yield from block(f"{at}.{number}", s.reduction is not None)


def unet(at: str, s: PromptSettings, history: int) -> Iterator[str]:
    """Keys of a published U-Net."""
    yield from (f"{at}.feat_extract.weight", f"{at}.conv_last.weight")
    yield from blocks(f"{at}.bottleneck", s.bottleneck, s)
    for level in (1, 2, 3):
        encoder, prompt = f"{at}.enc_level{level}", f"{at}.prompt_level{level}"
        yield from blocks(f"{encoder}.encoder", s.encoder[level - 1], s)
        yield from (f"{encoder}.down.weight", f"{encoder}.down.bias")
        yield from blocks(f"{at}.skip_attn{level}.skip_attn", s.skip[level - 1], s)
        yield from (f"{prompt}.linear_layer.weight", f"{prompt}.linear_layer.bias")
        yield from (f"{prompt}.prompt_param", f"{prompt}.dec_conv3x3.weight")
        yield from decoder(f"{at}.dec_level{level}", level, s, history)


def decoder(at: str, level: int, s: PromptSettings, history: int) -> Iterator[str]:
    if history:
        yield f"{at}.momentum.0.weight"
        yield from block(f"{at}.momentum.1", s.reduction is not None)
    yield from blocks(f"{at}.fuse", s.decoder[level - 1], s)
    yield from (f"{at}.reduce.weight", f"{at}.up.1.weight")
    yield from block(f"{at}.ca", s.reduction is not None)


def keys(s: PromptSettings) -> list[str]:
    """Of the published network's state dict."""
    found = list(unet("sens_net.norm_unet.unet", s, 0))
    for cascade in (f"cascades.{number}" for number in range(s.cascades)):
        found += [f"{cascade}.dc_weight"]
        found += unet(f"{cascade}.model.unet", s, getattr(s, "history", 0))
    return found


def smartifys(found: list[str]) -> list[str]:
    """Keys as sMaRtIfy's wrappers make them of PromptMR+'s."""
    found = [key.replace(".up.1.", ".up.module.module.1.") for key in found]
    found += [re.sub(r"module\.module\.1\.weight$", "_dummy_tensor", key)
              for key in found if ".up.module.module.1." in key]  # fmt: skip
    twins = [re.sub("^sens_net", "sens_net_ckp.module.module", key) for key in found]
    return [*found, "sens_net_ckp._dummy_tensor", *set(twins) - set(found)]


@functools.cache
def on_meta(settings: Any) -> Network:
    with torch.device("meta"):
        return build_network(settings)


def shapes_of(published: Published, found: list[str], settings: Any) -> dict[str, Size]:
    """Shapes by the published names; what we drop has one number."""
    ours = on_meta(settings).state_dict()
    names = {key: published.rename(key) for key in found}
    return {key: Size([1]) if name is None else ours[name].shape for key, name in names.items()}


# what the references' own code printed: number of keys, SHA-256 of the sorted ones
PRINTED = [
    (PROMPTMR, PromptMRSettings(), 1910, "f6078ca9ca5da161"),
    (PROMPTMR, PromptMRSettings(slices=3, reduction=None), 1286, "5329aba93637d62c"),
    (IMAGE_STATE, PromptMRPlusSettings(), 2126, "2043e02d128e5715"),
    (KSPACE_STATE, PromptMRPlusSettings(state="kspace"), 2126, "2043e02d128e5715"),
    (IMAGE_STATE, EJ, 890, "ee7308c8c8be708b"),
    (SMARTIFY, FINAL, 1643, "e1b23d02a3f0f577"),
]


@pytest.mark.parametrize(("published", "settings", "count", "digest"), PRINTED)
def test_every_key_is_used_or_dropped_by_name(
    published: Published, settings: Any, count: int, digest: str
) -> None:
    found = smartifys(keys(settings)) if published is SMARTIFY else keys(settings)
    assert len(found) == len(set(found)) == count
    assert hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16] == digest
    names = {key: published.rename(key) for key in found}
    dropped = {key.split(".")[-1] for key, name in names.items() if name is None}
    assert dropped == ({"_dummy_tensor"} if published is SMARTIFY else set())
    assert {name for name in names.values() if name} == set(on_meta(settings).state_dict())
    assert published.rename("loss.w") is None


CONFIGURATIONS = [
    *(case[:2] for case in PRINTED),
    (PROMPTMR, PromptMRSettings(**SMALL, slices=5)),
    (PROMPTMR, PromptMRSettings(slices=1)),
    *[
        (published, PromptMRPlusSettings(**SMALL, state=state, **more))
        for published, state in ((IMAGE_STATE, "image"), (KSPACE_STATE, "kspace"))
        for more in (
            {"slices": 3, "sens_adjacent": False, "history": 2},
            {"slices": 5, "adaptive_input": False, "history": 0},
            {"slices": 7, "history": 1},
            {"slices": 1, "adaptive_input": False},
            {"slices": 3, "adaptive_input": False, "sens_adjacent": False},
        )
    ],
]


@pytest.mark.parametrize(("published", "settings"), CONFIGURATIONS)
def test_settings_are_read_from_shapes(published: Published, settings: Any) -> None:
    found = smartifys(keys(settings)) if published is SMARTIFY else keys(settings)
    read = published.settings(shapes_of(published, found, settings))
    assert shapes_in(read) == shapes_in(settings)
    # a reduction is known as far as the gates' widths tell, and prompts' training not at all
    same = {"reduction": settings.reduction, "learn_prompts": settings.learn_prompts}
    assert read.model_copy(update=same) == settings


def shapes_in(settings: Any) -> dict[str, Size]:
    return {name: one.shape for name, one in on_meta(settings).state_dict().items()}


def test_gates_of_no_one_reduction_are_refused() -> None:
    shapes = shapes_of(IMAGE_STATE, keys(FINAL), FINAL)
    key = "cascades.0.model.unet.bottleneck.0.CA.conv_du.0.weight"
    with pytest.raises(CheckpointError, match="7 of 40"):
        IMAGE_STATE.settings({**shapes, key: Size([7, 40, 1, 1])})


def test_what_the_shapes_leave_open() -> None:
    """Forms with the same keys and shapes: which it is must be said."""
    assert set(shapes_in(PromptMRPlusSettings())) == set(
        shapes_in(PromptMRPlusSettings(state="kspace"))
    )
    five = PromptMRSettings(**SMALL, slices=5)
    one = PromptMRPlusSettings(**SMALL, slices=1, history=0)
    assert shapes_in(five) == shapes_in(one)
    shapes = shapes_of(PROMPTMR, keys(five), five)
    assert PROMPTMR.settings(shapes).slices == 5  # type: ignore[attr-defined]
    assert IMAGE_STATE.settings(shapes).slices == 1  # type: ignore[attr-defined]
    kinds = (PROMPTMR, IMAGE_STATE, KSPACE_STATE)
    assert len({kind.signature for kind in kinds}) == 1
    assert len({kind.said.get("model_version") for kind in kinds}) == 3


@pytest.mark.parametrize("published", [PROMPTMR, IMAGE_STATE, KSPACE_STATE, SMARTIFY])
def test_signatures_are_of_these_files_alone(published: Published) -> None:
    settings = FINAL if published is SMARTIFY else PromptMRSettings()
    found = smartifys(keys(settings)) if published is SMARTIFY else keys(settings)
    fitting = [
        kind
        for kind in PUBLISHED
        if all(any(re.fullmatch(one, key) for key in found) for one in kind.signature)
    ]
    assert published in fitting
    assert {kind.signature for kind in fitting} == {published.signature}


def test_twins_must_be_equal() -> None:
    network = build_network(NETWORKS["promptmr"].tiny)
    settings: Any = NETWORKS["promptmr"].tiny
    ours = network.state_dict()
    state = {key: ours[PROMPTMR.rename(key) or ""].clone() for key in keys(settings)}
    assert len(state) > len(ours)
    again = build_network(settings)
    again.load_state_dict(PROMPTMR.convert(state))
    for name, one in again.state_dict().items():
        assert torch.equal(one, ours[name])
    state["cascades.1.model.unet.dec_level2.ca.body.1.weight"] += 1
    with pytest.raises(CheckpointError, match=r"dec_level2\.ca\.body\.1\.weight.*twins"):
        PROMPTMR.convert(state)


def test_smartifys_second_copy_of_the_sensitivity_network_must_be_the_first() -> None:
    settings = PromptMRPlusSettings(**SMALL, slices=1, history=1)
    found = smartifys(keys(settings))
    torch.manual_seed(0)
    ours = build_network(settings).state_dict()
    names = {key: SMARTIFY.rename(key) for key in found}
    state = {key: torch.ones(1) if name is None else ours[name] for key, name in names.items()}
    assert set(SMARTIFY.convert(state)) == set(ours)
    key = "sens_net_ckp.module.module.norm_unet.unet.conv_last.weight"
    with pytest.raises(CheckpointError, match="sens_net"):
        SMARTIFY.convert({**state, key: state[key] + 1})
