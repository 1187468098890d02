"""fastMRI's U-Net and E2E-VarNet (fastmri 0.3.0)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dealias.models.published.source import Published, Rules
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings

PROJECT, LICENCE = "facebookresearch/fastMRI", "MIT"

UNET_RULES: Rules = (
    (r"\bdown_sample_layers\.", "down."),
    (r"\bup_transpose_conv\.(\d+)\.layers\.0\.", r"up.\1.convolution."),
    # the last block of the decoder comes with the 1x1 convolution
    (r"\bup_conv\.\d+\.1\.", "last."),
    (r"\bup_conv\.(\d+)(\.0)?\.layers\.", r"decode.\1.layers."),
    (r"\bconv\.layers\.", "middle.layers."),
    (r"\blayers\.0\.", "first."),
    (r"\blayers\.4\.", "second."),
)
"""Of a U-Net, wherever it stands in a key."""

VARNET_RULES: Rules = (
    (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
    (r"^(cascades\.\d+)\.model\.unet\.", r"\1.denoiser.network."),
    (r"^(cascades\.\d+)\.dc_weight$", r"\1.step"),
    *UNET_RULES,
)

_FIRST = r"down_sample_layers\.0\.layers\.0\.weight"


def _unet_settings(shapes: Mapping[str, torch.Size]) -> UnetSettings:
    channels, pools = unet_size(shapes, "")
    return UnetSettings(channels=channels, pools=pools)


def _varnet_settings(shapes: Mapping[str, torch.Size]) -> VarNetSettings:
    channels, pools = unet_size(shapes, "cascades.0.model.unet.")
    sens_channels, sens_pools = unet_size(shapes, "sens_net.norm_unet.unet.")
    return VarNetSettings(
        cascades=count(shapes, "cascades."), channels=channels, pools=pools,
        sens_channels=sens_channels, sens_pools=sens_pools,
    )  # fmt: skip


def unet_size(shapes: Mapping[str, torch.Size], prefix: str) -> tuple[int, int]:
    """Channels of the first level, and poolings, of the U-Net whose keys begin so."""
    pools = count(shapes, f"{prefix}down_sample_layers.")
    return shapes[f"{prefix}down_sample_layers.0.layers.0.weight"][0], pools


def count(shapes: Mapping[str, torch.Size], prefix: str) -> int:
    """How many numbered modules there are whose keys begin so."""
    return len({key[len(prefix) :].split(".")[0] for key in shapes if key.startswith(prefix)})


UNET = Published(
    name="fastmri-unet", project=PROJECT, licence=LICENCE, signature=(_FIRST,), prefixes=("unet.",),
    rules=(*UNET_RULES, (r"^", "unet.")), settings=_unet_settings,
)  # fmt: skip
VARNET = Published(
    name="fastmri-varnet",
    project=PROJECT,
    licence=LICENCE,
    signature=(
        rf"cascades\.0\.model\.unet\.{_FIRST}", rf"sens_net\.norm_unet\.unet\.{_FIRST}",
        # a U-Net with another middle is another kind
        r"cascades\.0\.model\.unet\.conv\.layers\.0\.weight",
    ),
    prefixes=("varnet.",),
    rules=(*VARNET_RULES, (r"^loss\.w$", None)),
    settings=_varnet_settings,
)  # fmt: skip
