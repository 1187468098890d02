"""FI-VarNet of fastMRI's examples, and GeekSeek's with large separable kernels (2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from dealias.models.fivarnet import FeatureStage, FIVarNetSettings, ImageStage, Stage
from dealias.models.layers.lska import SHAPES, Kernel
from dealias.models.published.fastmri import UNET_RULES, count, unet_size
from dealias.models.published.source import Published, Rules

LEVELS = 5
"""Of a U-Net at most; each lies inside the one above it."""
Shapes = Mapping[str, torch.Size]


def _level_rules(level: int) -> Rules:
    inside = r"\bfeature_processor\.layer\." + r"child\." * level
    return (
        (inside + r"left_block\.", f"refiner.network.unet.down.{level}."),
        (inside + r"upsample\.layers\.0\.", f"refiner.network.unet.up.{level}.convolution."),
        (inside + r"right_block\.", f"refiner.network.unet.decode.{level}."),
    )


RULES: Rules = (
    # the encoder and the decoder that all cascades share, once more, and an empty buffer
    (r"cascades\.\d+\.(encoder|decoder|zero)\b", None),
    (r"^loss\.w$", None),
    (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
    (r"^encoder\.encoder\.0\.", "codecs.0.encoder.network."),
    (r"^decoder\.decoder\.", "codecs.0.decoder.network."),
    (r"^(image_cascades\.\d+)\.model\.unet\.", r"\1.denoiser.network."),
    (r"^(feat_)?cascades\.", "feature_cascades."),
    (r"\bdc_weight$", "step"),
    (r"\boutput_conv\.0\.", "convolutions.network.first."),
    (r"\boutput_conv\.3\.", "convolutions.network.second."),
    (r"\battention_layer\.q\.", "refiner.network.attention.query."),
    (r"\battention_layer\.k\.", "refiner.network.attention.key."),
    (r"\battention_layer\.v\.", "refiner.network.attention.value."),
    (r"\battention_layer\.proj_out\.", "refiner.network.attention.last."),
    (r"\battention_layer\.dilated_conv\.", "refiner.network.attention.around."),
    (r"\bleft_block\.conv\.", "left_block.convolution."),
    (r"\battn\.proj_1\.", "attention.first."),
    (r"\battn\.proj_2\.", "attention.last."),
    (r"\battn\.spatial_gating_unit\.conv0h\.", "attention.gate.row."),
    (r"\battn\.spatial_gating_unit\.conv0v\.", "attention.gate.column."),
    (r"\battn\.spatial_gating_unit\.conv_spatial_h\.", "attention.gate.dilated_row."),
    (r"\battn\.spatial_gating_unit\.conv_spatial_v\.", "attention.gate.dilated_column."),
    (r"\battn\.spatial_gating_unit\.conv1\.", "attention.gate.mix."),
    *(rule for level in range(LEVELS) for rule in _level_rules(level)),
    (r"\bfeature_processor\.final_conv\.0\.", "refiner.network.unet.last."),
    *UNET_RULES,
)


def _settings(shapes: Shapes, cascades: str) -> FIVarNetSettings:
    features = count(shapes, cascades)
    large = {
        key.removeprefix(cascades).split(".")[0] for key in shapes if "spatial_gating_unit" in key
    }
    attention: Literal["alias"] | None = (
        "alias" if f"{cascades}0.attention_layer.q.weight" in shapes else None
    )
    stages: list[Stage] = [
        FeatureStage(cascades=number, attention=attention, large_kernels=kernels)
        for number, kernels in ((len(large), True), (features - len(large), False))
        if number
    ]
    first = shapes["decoder.decoder.weight"][1]
    channels = shapes[f"{cascades}0.feature_processor.final_conv.0.weight"][1]
    image_channels = channels
    if images := count(shapes, "image_cascades."):
        stages.append(ImageStage(cascades=images))
        image_channels, _ = unet_size(shapes, "image_cascades.0.model.unet.")
    sens_channels, sens_pools = unet_size(shapes, "sens_net.norm_unet.unet.")
    pools = max(key.count("child.") for key in shapes)
    return FIVarNetSettings(
        stages=tuple(stages), features=first, channels=channels, image_channels=image_channels,
        pools=pools, sens_channels=sens_channels, sens_pools=sens_pools, kernel=_kernel(shapes),
    )  # fmt: skip


def _kernel(shapes: Shapes) -> Kernel:
    """From the taps of a large kernel, if there is one."""
    row, dilated = (
        next((shape[-1] for key, shape in shapes.items() if key.endswith(f".{name}.weight")), 0)
        for name in ("conv0h", "conv_spatial_h")
    )
    return next((size for size, taps in SHAPES.items() if taps[:2] == (row, dilated)), 7)


_LAYER = r"feature_processor\.layer\."

FIVARNET = Published(
    name="fivarnet",
    project="facebookresearch/fastMRI",
    licence="MIT",
    signature=(r"encoder\.encoder\.0\.weight", rf"cascades\.0\.{_LAYER}left_block\..*weight"),
    prefixes=("fi_varnet.",),
    # GeekSeek's own copy has each cascade under two names
    rules=((r"^feat_cascades\.", None), *RULES),
    settings=lambda shapes: _settings(shapes, "cascades."),
)
"""Its image-first form (IFVarNet) has the same keys: for that one turn the stages round."""
LSKA = Published(
    name="fivarnet-lska",
    project="sawo0150/2025_GeekSeek",
    licence="none given",
    signature=(
        r"encoder\.encoder\.0\.weight",
        r"feat_cascades\.\d+\..*\.spatial_gating_unit\.conv1\.weight",
    ),
    prefixes=(),
    rules=RULES,
    settings=lambda shapes: _settings(shapes, "feat_cascades."),
)
