"""PromptMR, both forms of PromptMR+, and sMaRtIfy's smaller PromptMR+."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dealias.errors import CheckpointError
from dealias.models.promptmr import PromptMRSettings, Triple
from dealias.models.promptmr_plus import BUFFERS, PromptMRPlusSettings
from dealias.models.published.fastmri import count
from dealias.models.published.source import Published, Rules

Shapes = Mapping[str, torch.Size]

LEVELS: Rules = tuple(
    rule
    for level in (1, 2, 3)
    for rule in (
        (rf"\benc_level{level}\.encoder\.", f"encoder.{level - 1}.blocks."),
        (rf"\benc_level{level}\.", f"encoder.{level - 1}."),
        (rf"\bskip_attn{level}\.skip_attn\.", f"decoder.{3 - level}.skip."),
        (rf"\bprompt_level{level}\.", f"decoder.{3 - level}.prompt."),
        (rf"\bdec_level{level}\.", f"decoder.{3 - level}."),
    )
)
"""Theirs count levels from full resolution, our decoder from the lowest."""

RULES: Rules = (
    (r"^loss\.w$", None),
    # one PReLU stands in all blocks of all networks, but for the first block of each
    (r"\benc_level1\.encoder\.0\.body\.1\.weight$", "activation.weight"),
    (r"^.*\.body\.1\.weight$", "activation.weight"),
    (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
    (r"^(cascades\.\d+)\.model\.unet\.", r"\1.denoiser.network."),
    (r"^(cascades\.\d+)\.dc_weight$", r"\1.step"),
    *LEVELS,
    (r"\bfeat_extract\.", "first."),
    (r"\bconv_last\.", "last."),
    (r"\bbottleneck\.", "bottleneck.blocks."),
    (r"\bprompt_param$", "prompts"),
    (r"\blinear_layer\.", "weigh."),
    (r"\bdec_conv3x3\.", "convolution."),
    (r"\bmomentum\.0\.", "momentum.mix."),
    (r"\bmomentum\.1\.", "momentum.block."),
    (r"\bfuse\.", "blocks."),
    (r"\bup\.1\.", "up."),
    (r"\bca\.", "last."),
    (r"\bbody\.0\.", "first."),
    (r"\bbody\.2\.", "second."),
    (r"\bCA\.conv_du\.0\.", "gate.squeeze."),
    (r"\bCA\.conv_du\.2\.", "gate.excite."),
)

SMARTIFY_RULES: Rules = (
    # what makes their checkpointing of the sensitivity network and of each upsampling work
    (r"\b_dummy_tensor$", None),
    (r"^sens_net_ckp\.module\.module\.", "sens_net."),
    (r"\bup\.module\.module\.", "up."),
    *RULES,
)

_SENS, _CASCADE = "sens_net.norm_unet.unet.", "cascades.0.model.unet."
_PROMPT = r"cascades\.0\.model\.unet\.prompt_level1\.prompt_param"
_SIGNATURE = (_PROMPT, r"cascades\.0\.model\.unet\.dec_level1\.up\.1\.weight")


def _promptmr(shapes: Shapes) -> PromptMRSettings:
    seen = {"slices": _images(shapes, _CASCADE)}
    return PromptMRSettings.model_validate({**seen, **_common(shapes)})


def _image_state(shapes: Shapes) -> PromptMRPlusSettings:
    return PromptMRPlusSettings.model_validate({"state": "image", **_plus(shapes)})


def _kspace_state(shapes: Shapes) -> PromptMRPlusSettings:
    return PromptMRPlusSettings.model_validate({"state": "kspace", **_plus(shapes)})


def _smartify(shapes: Shapes) -> PromptMRPlusSettings:
    plain = (key.replace(".up.module.module.", ".up.") for key in shapes)
    return _image_state(dict(zip(plain, shapes.values(), strict=True)))


def _plus(shapes: Shapes) -> dict[str, Any]:
    """What PromptMR+ has beside PromptMR.

    One slice with adaptive input and five slices alone each without have the same shapes; this
    takes them for the former, which the kind of PromptMR, the latter, is not.
    """
    seen, adjacent = _images(shapes, _CASCADE), _images(shapes, _SENS)
    adaptive = seen % (1 + BUFFERS) == 0 and seen != adjacent
    key = f"{_CASCADE}dec_level3.momentum.0.weight"
    history = shapes[key][1] // shapes[key][0] - 1 if key in shapes else 0
    slices = seen // (1 + BUFFERS) if adaptive else seen
    return {
        "slices": slices, "sens_adjacent": adjacent == slices, "adaptive_input": adaptive,
        "history": history, **_common(shapes),
    }  # fmt: skip


def _common(shapes: Shapes) -> dict[str, Any]:
    def counts(module: str) -> Triple:
        one, two, three = (count(shapes, _CASCADE + module % level) for level in (1, 2, 3))
        return one, two, three

    prompts = [shapes[f"{_CASCADE}prompt_level{level}.prompt_param"] for level in (1, 2, 3)]
    _, mixed, channels, sides, _ = zip(*prompts, strict=True)
    return {
        "cascades": count(shapes, "cascades."), "features": _features(shapes, _CASCADE),
        "sens_features": _features(shapes, _SENS), "prompts": mixed, "prompt_channels": channels,
        "sens_prompt_channels": tuple(
            shapes[f"{_SENS}prompt_level{level}.prompt_param"][2] for level in (1, 2, 3)
        ),
        "prompt_size": sides, "encoder": counts("enc_level%d.encoder."),
        "decoder": counts("dec_level%d.fuse."), "skip": counts("skip_attn%d.skip_attn."),
        "bottleneck": count(shapes, f"{_CASCADE}bottleneck."), "reduction": _reduction(shapes),
    }  # fmt: skip


def _images(shapes: Shapes, unet: str) -> int:
    """How many complex images a U-Net takes."""
    return shapes[f"{unet}feat_extract.weight"][1] // 2


def _features(shapes: Shapes, unet: str) -> tuple[int, ...]:
    downs = (shapes[f"{unet}enc_level{level}.down.weight"][0] for level in (1, 2, 3))
    return shapes[f"{unet}feat_extract.weight"][0], *downs


def _reduction(shapes: Shapes) -> int | None:
    """What makes all the gates' inner widths from their outer ones."""
    gates = {tuple(one[:2]) for key, one in shapes.items() if key.endswith(".conv_du.0.weight")}
    if not gates:
        return None
    for reduction in range(1, 1025):
        if all(inner == max(1, outer // reduction) for inner, outer in gates):
            return reduction
    widths = ", ".join(f"{inner} of {outer}" for inner, outer in sorted(gates))
    raise CheckpointError("channel attention", widths, "one reduction for all")


# The two forms of PromptMR+ have the same keys and shapes; those of PromptMR, and of PromptMR+
# without history, are told apart by their shapes alone, if at all.
PROMPTMR = Published(
    name="promptmr",
    project="hellopipu/PromptMR",
    licence="MIT",
    signature=_SIGNATURE,
    prefixes=("promptmr.",),
    rules=RULES,
    settings=_promptmr,
)
IMAGE_STATE = Published(
    name="promptmr-plus",
    project="hellopipu/PromptMR-plus",
    licence="Rutgers University, non-commercial",
    signature=_SIGNATURE,
    prefixes=("promptmr.",),
    rules=RULES,
    settings=_image_state,
    said={"model_version": "promptmr_v2"},
)
KSPACE_STATE = Published(
    name="promptmr-plus-kspace",
    project="hellopipu/PromptMR-plus",
    licence="Rutgers University, non-commercial",
    signature=_SIGNATURE,
    prefixes=("promptmr.",),
    rules=RULES,
    settings=_kspace_state,
    said={"model_version": "promptmr"},
)
SMARTIFY = Published(
    name="smartify",
    project="sMartify-fastmri/2025_final",
    licence="none given; its network is PromptMR+'s, non-commercial",
    signature=(_PROMPT, r"sens_net_ckp\._dummy_tensor"),
    prefixes=(),
    rules=SMARTIFY_RULES,
    settings=_smartify,
)
