"""DIRCN, and the two networks that the 2022 team HsThMRI made of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dealias.models.dircn import DIRCNSettings
from dealias.models.published.fastmri import count
from dealias.models.published.source import Published, Rules

Shapes = Mapping[str, torch.Size]
TEAM, NO_LICENCE = "Team-HsThMRI/2022-SNU-FastMRI-Challenge", "none given"

OUTER: Rules = (
    (r"^sens_net\.model\.model\.", "sensitivity.coil.denoiser.network."),
    (r"^i_cascades\.(\d+)\.i_model\.model\.", r"cascades.\1.denoiser.network."),
    (r"^i_cascades\.(\d+)\.dc_weight$", r"cascades.\1.weight"),
)
"""Of all three, whatever their denoisers."""

RESXUNET_RULES: Rules = (
    *OUTER,
    (r"\binput\.0\.", "encoder.0.enter.convolution."),
    (r"\binput\.1\.", "encoder.0.enter.norm."),
    (r"\binc\.", "encoder.0.blocks.0."),
    (r"\bdown(\d)\.down\.", r"encoder.\1.enter.convolution."),
    (r"\bdown(\d)\.norm\.", r"encoder.\1.enter.norm."),
    (r"\bdown(\d)_basic\.", r"encoder.\1.blocks.0."),
    (r"\bdown4_bottle\.", "encoder.4.blocks."),
    # theirs counts where it comes from, ours where it goes to
    *((rf"\bup{level + 1}\.up\.", f"decoder.{level}.up.convolution.") for level in range(4)),
    *((rf"\bup{level + 1}\.norm\.", f"decoder.{level}.up.norm.") for level in range(4)),
    (r"\bup(\d)_channel\.", r"decoder.\1.merge."),
    (r"\bout_channel\.", "decoder.0.merge."),
    (r"\bmerge\.0\.", "merge.convolution."),
    (r"\bmerge\.1\.", "merge.norm."),
    (r"\bup(\d)_basic\.", r"decoder.\1.blocks.0."),
    (r"\bout_1\.", "decoder.0.blocks.0."),
    (r"\bfinal_bottle\.0\.", "decoder.0.blocks.1."),
    (r"\boutc\.", "last."),
    *((rf"\bconv{i + 1}\.", f"convolutions.{i}.convolution.") for i in range(3)),
    *((rf"\bnorm{i + 1}\.", f"convolutions.{i}.norm.") for i in range(3)),
    (r"\bse\.layer_1\.", "gate.squeeze."),
    (r"\bse\.layer_2\.", "gate.excite."),
)

UNET_RULES: Rules = (
    *OUTER,
    (r"\bfirst_block\.layers\.", "down.0."),
    (r"\bdown(\d)\.layers\.1\.layers\.", r"down.\1."),
    (r"\bfc1\.layers\.0\.", "bottom.layers.0."),
    (r"\binvConv\.", "bottom.spread."),
    # theirs counts upwards from the lowest level, ours from the highest
    *((rf"\bup{i}_trans\.", f"up.{4 - i}.") for i in range(1, 5)),
    *((rf"\bup{i}\.conv\.layers\.", f"decode.{4 - i}.") for i in range(1, 5)),
    *(
        (rf"\b(down|decode)\.(\d)\.{i}\.", rf"\1.\2.{name}.")
        for i, name in ((0, "first"), (1, "first_norm"), (3, "second"), (4, "second_norm"))
    ),
    (r"\blast_block\.", "last."),
)

ATTENTION_RULES: Rules = (
    *OUTER,
    *((rf"\bencoder{i + 1}\.encoderblock\.", f"down.{i}.") for i in range(3)),
    (r"\bcenter\.centerblock1\.", "down.3."),
    (r"\bcenter\.invconv\.", "bottom.spread."),
    (r"\bcenter\.fc1\.0\.", "bottom.layers.0."),
    (r"\bcenter\.centerblock2\.0\.", "up.2.convolution."),
    # theirs counts where it comes from, ours where it goes to
    *(
        (rf"\bdecoder_upsample{i + 2}\.decoderblock_upsample\.0\.", f"up.{i}.convolution.")
        for i in range(2)
    ),
    *((rf"\bdecoder{i + 1}\.decoderblock\.", f"decoder.{i}.blocks.") for i in range(3)),
    (r"\b(down\.\d|blocks)\.0\.", r"\1.first."),
    (r"\b(down\.\d|blocks)\.3\.", r"\1.second."),
    *((rf"\batt{i + 1}\.", f"decoder.{i}.gate.") for i in range(3)),
    (r"\bW_g\.0\.", "decoded."),
    (r"\bW_x\.0\.", "skip."),
    (r"\bpsi1\.0\.", "score."),
    (r"\bfinal\.finalblock\.0\.", "last."),
)

_SENS, _NEXT = "sens_net.model.model.", "i_cascades.1.i_model.model."


def _first(name: str) -> str:
    return f"i_cascades.0.i_model.model.{name}"


def _resxunet(shapes: Shapes) -> DIRCNSettings:
    """Whether it is variational, shapes do not tell; the published default is not."""
    channels, groups = _grouped(shapes, _first(""))
    sens_channels, sens_groups = _grouped(shapes, _SENS)
    squeezed, widest = shapes[_first("down3_basic.se.layer_1.weight")][:2]
    return DIRCNSettings.model_validate({
        "cascades": count(shapes, "i_cascades."), "channels": channels, "groups": groups,
        "sens_channels": sens_channels, "sens_groups": sens_groups,
        "reduction": widest // squeezed,
        **_switches(shapes, "input.0.weight", "out_channel.0.weight"),
    })  # fmt: skip


def _unet(shapes: Shapes) -> DIRCNSettings:
    return _team(shapes, "unet-fc", "first_block.layers.0.weight", "up4.conv.layers.0.weight")


def _attention(shapes: Shapes) -> DIRCNSettings:
    first, last = "encoder1.encoderblock.0.weight", "decoder1.decoderblock.0.weight"
    return _team(shapes, "attention-unet-fc", first, last)


def _team(shapes: Shapes, denoiser: str, first: str, last: str) -> DIRCNSettings:
    return DIRCNSettings.model_validate({
        "cascades": count(shapes, "i_cascades."), "denoiser": denoiser, "groups": 1,
        "channels": shapes[_first(first)][0], "sens_channels": shapes[_SENS + first][0],
        **_switches(shapes, first, last),
    })  # fmt: skip


def _grouped(shapes: Shapes, prefix: str) -> tuple[int, int]:
    """Channels of a ResXUNet's first level, and the groups of its grouped convolutions."""
    channels, each = shapes[f"{prefix}inc.conv2.weight"][:2]
    return channels, channels // each


def _switches(shapes: Shapes, first: str, last: str) -> dict[str, bool]:
    """What the second cascade sees; a network of one cascade is the same with and without."""
    if _NEXT + first not in shapes:
        return {}
    width, seen = shapes[_NEXT + last][:2]
    return {
        "dense": shapes[_NEXT + first][1] > shapes[_first(first)][1],
        "interconnections": seen == 3 * width,
    }


DIRCN = Published(
    name="dircn",
    project="JonOttesen/DIRCN",
    licence=NO_LICENCE,
    signature=(r"i_cascades\.0\.i_model\.model\.down4_bottle\.0\.conv1\.weight",),
    prefixes=(),
    rules=RESXUNET_RULES,
    settings=_resxunet,
)
DIRCN_UNET = Published(
    name="dircn-unet-2022",
    project=TEAM,
    licence=NO_LICENCE,
    signature=(r"i_cascades\.0\.i_model\.model\.first_block\.layers\.0\.weight",),
    prefixes=(),
    rules=UNET_RULES,
    settings=_unet,
)
DIRCN_ATTENTION = Published(
    name="dircn-attention-2022",
    project=TEAM,
    licence=NO_LICENCE,
    signature=(r"i_cascades\.0\.i_model\.model\.encoder1\.encoderblock\.0\.weight",),
    prefixes=(),
    rules=ATTENTION_RULES,
    settings=_attention,
)
