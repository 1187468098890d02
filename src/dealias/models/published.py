"""Names of parameters in other people's weights, and what they are called here."""

from __future__ import annotations

import re

_FASTMRI = (
    (r"^sens_net\.norm_unet\.unet\.", "sensitivity.coil.denoiser.network."),
    (r"^(cascades\.\d+)\.model\.unet\.", r"\1.denoiser.network."),
    (r"^(cascades\.\d+)\.dc_weight$", r"\1.step"),
    (r"\bdown_sample_layers\.", "down."),
    (r"\bup_transpose_conv\.(\d+)\.layers\.0\.", r"up.\1.convolution."),
    # the last block of the decoder comes with the 1x1 convolution
    (r"\bup_conv\.\d+\.1\.", "last."),
    (r"\bup_conv\.(\d+)(\.0)?\.layers\.", r"decode.\1.layers."),
    (r"\bconv\.layers\.", "middle.layers."),
    (r"\blayers\.0\.", "first."),
    (r"\blayers\.4\.", "second."),
)


def from_fastmri(name: str) -> str:
    """The name here of a parameter of fastMRI's U-Net or E2E-VarNet (fastmri 0.3.0)."""
    for pattern, ours in _FASTMRI:
        name = re.sub(pattern, ours, name)
    return name
