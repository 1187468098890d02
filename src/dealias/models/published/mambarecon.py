"""MambaRecon, and the VarNet cascades around it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dealias.models.mamba_varnet import MambaVarNetSettings
from dealias.models.mambarecon import MambaReconSettings
from dealias.models.published.fastmri import UNET_RULES, count, unet_size
from dealias.models.published.source import Published, Rules

MOST = 100
"""Stages that are looked for."""

_BLOCK_RULES: Rules = (
    (r"\bln_1\.", "norm."),
    (r"\bself_attention\.in_proj\.", "scans.split."),
    (r"\bself_attention\.conv2d\.", "scans.convolution."),
    (r"\bself_attention\.x_proj_weight$", "scans.see"),
    (r"\bself_attention\.dt_projs_weight$", "scans.step"),
    (r"\bself_attention\.dt_projs_bias$", "scans.step_bias"),
    (r"\bself_attention\.A_logs$", "scans.log_rates"),
    (r"\bself_attention\.Ds$", "scans.skip"),
    (r"\bself_attention\.out_norm\.", "scans.norm."),
    (r"\bself_attention\.out_proj\.", "scans.join."),
)


def mamba_rules(theirs: str, ours: str) -> Rules:
    """Of a whole MambaRecon, whose keys begin so.

    Args:
        theirs: A regular expression, without the anchor.
        ours: What it becomes.
    """
    numbered: list[tuple[str, str | None]] = []
    for stage in range(MOST):
        # blocks and data consistency have one number each
        blocks = rf"^{theirs}layers\.{2 * stage}\."
        consistency = rf"^{theirs}layers\.{2 * stage + 1}\."
        cascade = f"{ours}cascades.{stage}."
        numbered += [
            (blocks, f"{cascade}stage.network."),
            (rf"{consistency}unpatchify\.layer\.", f"{cascade}stage.network.unpatch."),
            (rf"{consistency}patch_embed\.", f"{cascade}embed.network."),
        ]
    return (
        # the last data consistency has a patch embedding that nothing uses
        (rf"^{theirs}last_dc\.patch_embed\.", None),
        (rf"^{theirs}last_dc\.unpatchify\.layer\.", f"{ours}head.network.unpatch."),
        (rf"^{theirs}norm\.", f"{ours}head.network.norm."),
        (rf"^{theirs}patch_embed\.", f"{ours}embed.network."),
        *numbered,
        (r"\bembed\.network\.proj\.", "embed.network.convolution."),
        *_BLOCK_RULES,
    )


def _sizes(shapes: Mapping[str, torch.Size], prefix: str) -> dict[str, int]:
    """Sizes that both kinds have, of the MambaRecon whose keys begin so."""
    features, _, _, patch = shapes[f"{prefix}patch_embed.proj.weight"]
    block = f"{prefix}layers.0.blocks.0.self_attention."
    return {
        "blocks": count(shapes, f"{prefix}layers.0.blocks."),
        "features": features,
        "patch": patch,
        "states": shapes[f"{block}A_logs"][1],
        "expand": shapes[f"{block}in_proj.weight"][0] // (2 * features),
    }


def _stages(shapes: Mapping[str, torch.Size], prefix: str) -> int:
    return count(shapes, f"{prefix}layers.") // 2


def _settings(shapes: Mapping[str, torch.Size]) -> MambaReconSettings:
    return MambaReconSettings(cascades=_stages(shapes, ""), **_sizes(shapes, ""))  # type: ignore[arg-type]


def _varnet_settings(shapes: Mapping[str, torch.Size]) -> MambaVarNetSettings:
    inside = "cascades.0.model.mamba_unet."
    sens_channels, sens_pools = unet_size(shapes, "sens_net.norm_unet.unet.")
    return MambaVarNetSettings(
        cascades=count(shapes, "cascades."), stages=_stages(shapes, inside),
        sens_channels=sens_channels, sens_pools=sens_pools, **_sizes(shapes, inside),  # type: ignore[arg-type]
    )  # fmt: skip


MAMBARECON = Published(
    name="mambarecon",
    project="yilmazkorkmaz1/MambaRecon",
    licence="MIT",
    signature=(r"patch_embed\.proj\.weight", r"last_dc\.unpatchify\.layer\.weight"),
    prefixes=("mamba_unet.",),
    rules=mamba_rules("", "unrolled."),
    settings=_settings,
)
MAMBA_VARNET = Published(
    name="mamba-varnet",
    project="sawo0150/2025_GeekSeek",
    licence="none given; its MambaRecon is MIT",
    signature=(r"cascades\.0\.model\.mamba_unet\.patch_embed\.proj\.weight", r"sens_net\..*"),
    prefixes=(),
    rules=(
        *mamba_rules(r"(cascades\.\d+)\.model\.mamba_unet\.", r"\1.unrolled."),
        (r"^(cascades\.\d+)\.dc_weight$", r"\1.step"),
        (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
        *UNET_RULES,
    ),
    settings=_varnet_settings,
)
