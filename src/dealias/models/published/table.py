"""The table of kinds of published weights."""

from __future__ import annotations

from dealias.models.published import (
    challenge,
    dhumus,
    dircn,
    fastmri,
    fivarnet,
    humus,
    mambarecon,
    promptmr,
    smartify_experts,
    snu2022,
)
from dealias.table import Table

PUBLISHED = Table(
    "published weights",
    (
        fastmri.UNET,
        fastmri.VARNET,
        challenge.UNET,
        snu2022.ATTENTION_UNET,
        snu2022.VARNET_FC,
        promptmr.PROMPTMR,
        promptmr.IMAGE_STATE,
        promptmr.KSPACE_STATE,
        promptmr.SMARTIFY,
        smartify_experts.SMARTIFY_EXPERTS,
        humus.HUMUS,
        dhumus.DHUMUS,
        dircn.DIRCN,
        dircn.DIRCN_UNET,
        dircn.DIRCN_ATTENTION,
        fivarnet.FIVARNET,
        fivarnet.LSKA,
        mambarecon.MAMBARECON,
        mambarecon.MAMBA_VARNET,
    ),
)
