"""dHUMUS as GeekSeek tried it: what its parameters are here. No weights were published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import torch

from dealias.errors import CheckpointError
from dealias.models.published.fastmri import UNET_RULES
from dealias.models.published.source import Published, Rules

RULES: Rules = (
    (r"^ospn\.ssim_metric\.w$", None),
    # instance normalisation takes these biases away again
    (r"\.(H|convs\.\d+)\.layers\.\d+\.bias$", None),
    (r"\.res_block\.layers\.0\.bias$", None),
    (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
    (r"^dc_weights$", "steps"),
    (r"^ospn\.U_layers\.", "selector.inputs."),
    (r"^ospn\.W_layer\.", "selector.recur."),
    (r"^ospn\.fc\.", "selector.last."),
    (r"^(cascades\.\d+)\.scale_(\d+)\.", r"\1.denoiser.network.scales.\2."),
    (r"\.res_block\.layers\.0\.", ".inner."),
    (r"\.res_block\.layers\.4\.", ".leave."),
    (r"\.H\.", ".enter."),
    (r"\.L\.", ".halve."),
    (r"\.R\.", ".leave."),
    (r"\.MUST\.downsamples\.", ".deep.down."),
    (r"\.MUST\.upsamples\.", ".deep.up."),
    (r"\.MUST\.convs\.", ".deep.decode."),
    (r"\.MUST\.layers\.(\d+)\.attn\.proj\.", r".deep.levels.\1.swin.attention.project."),
    (r"\.MUST\.layers\.(\d+)\.attn\.", r".deep.levels.\1.swin.attention."),
    (r"\.MUST\.layers\.(\d+)\.norm1\.", r".deep.levels.\1.swin.attention_norm."),
    (r"\.MUST\.layers\.(\d+)\.norm2\.", r".deep.levels.\1.swin.perceptron_norm."),
    (r"\.MUST\.layers\.(\d+)\.mlp\.", r".deep.levels.\1.swin.perceptron."),
    *UNET_RULES,
)


def _refused(shapes: Mapping[str, torch.Size]) -> NoReturn:
    """Their attention and ours differ, so their weights would mean something else here."""
    raise CheckpointError(
        f"{len(shapes)} parameters of GeekSeek's dHUMUS",
        "weights of another function: attention across opposite edges, a magnitude without phase",
        "weights of dealias's own",
        "train network=dhumus",
    )


DHUMUS = Published(
    name="dhumus",
    project="sawo0150/2025_GeekSeek",
    licence="none given",
    signature=(r"ospn\.fc\.weight", r"dc_weights"),
    prefixes=(),
    rules=RULES,
    settings=_refused,
)
"""Known so that it is refused with a reason, and to prove that all but the repairs is theirs."""
