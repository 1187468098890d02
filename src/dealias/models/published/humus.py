"""HUMUS-Net's own weights."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import torch

from dealias.models.humus import HumusSettings
from dealias.models.published.fastmri import UNET_RULES, count, unet_size
from dealias.models.published.source import Published, Rules

GROUP_RULES: Rules = (
    # attention masks of one image size, and the table's index: computed when needed
    (r"\.attn_mask$", None),
    (r"\.relative_position_index$", None),
    (r"\.residual_group\.blocks\.", ".swin."),
    (r"\.attn\.relative_position_bias_table$", ".attention.table"),
    (r"\.attn\.proj\.", ".attention.project."),
    (r"\.attn\.", ".attention."),
    (r"\.norm1\.", ".attention_norm."),
    (r"\.norm2\.", ".perceptron_norm."),
    (r"\.mlp\.fc1\.", ".perceptron.0."),
    (r"\.mlp\.fc2\.", ".perceptron.2."),
    (r"\.layers_down\.(\d+)\.reshape\.reduction\.", r".merge.\1.reduce."),
    (r"\.layers_down\.(\d+)\.reshape\.", r".merge.\1."),
    (r"\.layers_up\.(\d+)\.reshape\.channel_mix\.", r".expand.\1.mix."),
    (r"\.layers_up\.(\d+)\.reshape\.", r".expand.\1."),
    (r"\.(layers_down\.\d+|layer_bottleneck|layers_up\.\d+)\.conv\.", r".\1.convolution."),
    (r"\.layers_down\.", ".encoder."),
    (r"\.layer_bottleneck\.", ".bottleneck."),
    (r"\.layers_up\.", ".decoder."),
)
"""Of the Swin layers."""

RULES: Rules = (
    (r"^loss\.w$", None),
    (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
    (r"^(cascades\.\d+)\.dc_weight$", r"\1.step"),
    (r"^(cascades\.\d+)\.model\.", r"\1.denoiser.network."),
    (r"\.conv_first\.", ".first."),
    (r"\.conv_down_block\.layers\.", ".enter.layers."),
    (r"\.conv_down\.layers\.0\.", ".down.convolution."),
    (r"\.patch_embed\.norm\.", ".norm."),
    (r"\.norm_down\.", ".bottleneck_norm."),
    (r"\.norm_up\.", ".last_norm."),
    (r"\.conv_after_body\.", ".after."),
    (r"\.conv_up\.layers\.0\.", ".up.convolution."),
    (r"\.conv_up_block\.layers\.", ".leave.layers."),
    (r"\.conv_last\.", ".last."),
    *GROUP_RULES,
)


def _settings(shapes: Mapping[str, torch.Size]) -> HumusSettings:
    block = "cascades.0.model."
    levels = [f"{block}layers_down.{i}." for i in range(count(shapes, f"{block}layers_down."))]
    groups = [f"{level}residual_group.blocks." for level in [*levels, f"{block}layer_bottleneck."]]
    tables = [shapes[f"{group}0.attn.relative_position_bias_table"] for group in groups]
    features = shapes[f"{block}conv_after_body.weight"][0]
    channels, pools = unet_size(shapes, "sens_net.norm_unet.unet.")
    return HumusSettings.model_validate({
        "cascades": count(shapes, "cascades."),
        "slices": shapes[f"{block}conv_first.weight"][1] // 2,
        "features": features,
        "window": (isqrt(tables[0][0]) + 1) // 2,
        "depths": tuple(count(shapes, group) for group in groups[:-1]),
        "heads": tuple(table[1] for table in tables[:-1]),
        "bottleneck_depth": count(shapes, groups[-1]),
        "bottleneck_heads": tables[-1][1],
        "ratio": shapes[f"{groups[0]}0.mlp.fc1.weight"][0] / features,
        "sens_channels": channels, "sens_pools": pools,
    })  # fmt: skip


HUMUS = Published(
    name="humus",
    project="MathFLDS/HUMUS-Net",
    licence="MIT",
    signature=(
        r"cascades\.0\.model\.conv_first\.weight",
        r"cascades\.0\.model\.layers_up\.0\.reshape\.channel_mix\.weight",
    ),
    prefixes=("model.",),
    rules=(*RULES, *UNET_RULES),
    settings=_settings,
)
