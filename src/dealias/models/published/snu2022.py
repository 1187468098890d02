"""The networks of Team HsThMRI, SNU fastMRI challenge 2022: Attention U-Net, E2E-VarNet with FC."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dealias.models.attention_unet import AttentionUnetSettings
from dealias.models.published.fastmri import VARNET_RULES, count, unet_size
from dealias.models.published.source import Published, Rules
from dealias.models.varnet_fc import VarNetFCSettings

PROJECT = "Team-HsThMRI/2022-SNU-FastMRI-Challenge"
LICENCE = "none stated"
LEVELS = 4


def _attention_rules() -> Rules:
    """Their levels count from 1 at full resolution; decoders here begin at the lowest."""
    rules: list[tuple[str, str | None]] = [
        (r"^center\.centerblock1\.0\.", "middle.first."),
        (r"^center\.centerblock1\.3\.", "middle.second."),
        (r"^center\.centerblock2\.0\.", "up.0.convolution."),
        (r"^center\.fc1\.0\.", "mix.layers.0."),
        (r"^center\.fc2\.0\.", "mix.layers.1."),
        (r"^center\.invconv\.0\.", "mix.spread."),
        (r"^final\.finalblock\.6\.", "last."),
        # the lowest resolution's decoder is their fourth; the last one has a name of its own
        (r"^final\.finalblock\.", "decoder1.decoderblock."),
    ]
    for level in range(1, LEVELS + 1):
        step = LEVELS - level
        rules += [
            (rf"^encoder{level}\.encoderblock\.", f"down.{level - 1}."),
            (rf"^decoder{level}\.decoderblock\.6\.", f"up.{step + 1}.convolution."),
            (rf"^decoder{level}\.decoderblock\.", f"decode.{step}."),
            (rf"^att{level}\.", f"gates.{step}."),
        ]
    return (
        *rules,
        (r"^(down|decode)\.(\d)\.0\.", r"\1.\2.first."),
        (r"^(down|decode)\.(\d)\.3\.", r"\1.\2.second."),
        (r"\bW_g\.0\.", "guide."),
        (r"\bW_x\.0\.", "skip."),
        (r"\bpsi1\.0\.", "mix."),
        (r"\bpsi2\.0\.", "weigh."),
        (r"^finalconv\.weight$", "combine"),
        (r"^(?!combine$)", "denoiser.network."),
    )


def _attention_settings(shapes: Mapping[str, torch.Size]) -> AttentionUnetSettings:
    kernel = shapes["center.invconv.0.weight"][-1]
    return AttentionUnetSettings(
        channels=shapes["encoder1.encoderblock.0.weight"][0],
        hidden=shapes["center.fc1.0.weight"][0], kernel=kernel, stride=kernel // 2, stored=True,
    )  # fmt: skip


def _varnet_settings(shapes: Mapping[str, torch.Size]) -> VarNetFCSettings:
    channels, pools = unet_size(shapes, "cascades.0.model.unet.")
    sens_channels, sens_pools = unet_size(shapes, "sens_net.norm_unet.unet.")
    rows, columns = shapes["cascades.0.model.unet.invConv1.weight"][-2:]
    # kernels of 24x13 are laid 24 rows and 12 columns apart
    return VarNetFCSettings(
        cascades=count(shapes, "cascades."), channels=channels, pools=pools,
        sens_channels=sens_channels, sens_pools=sens_pools, grid=(2 * rows, 2 * columns - 1),
    )  # fmt: skip


ATTENTION_UNET = Published(
    name="hsthmri-attention-unet",
    project=PROJECT,
    licence=LICENCE,
    signature=(r"center\.invconv\.0\.weight", r"att4\.psi2\.0\.weight", r"finalconv\.weight"),
    prefixes=("module.",),
    rules=_attention_rules(),
    settings=_attention_settings,
)
VARNET_FC = Published(
    name="hsthmri-varnet-fc",
    project=PROJECT,
    licence=LICENCE,
    signature=(
        r"cascades\.0\.model\.unet\.invConv1\.weight",
        r"sens_net\.norm_unet\.unet\.fc1\.layers\.0\.weight",
    ),
    prefixes=("module.",),
    rules=(
        *VARNET_RULES,
        (r"\bconv\.weight$", "middle.0.weight"),
        # by then the rules of a U-Net have renamed its first layer
        (r"\bfc1\.first\.", "middle.1.layers.0."),
        (r"\binvConv1\.", "middle.1.spread."),
    ),
    settings=_varnet_settings,
)
