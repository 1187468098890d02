"""Settings of any one network, as recipes and mixtures name it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dealias.models.attention_unet import AttentionUnetSettings
from dealias.models.challenge_unet import ChallengeUnetSettings
from dealias.models.dhumus import DHumusSettings
from dealias.models.dircn import DIRCNSettings
from dealias.models.fivarnet import FIVarNetSettings
from dealias.models.humus import HumusSettings
from dealias.models.mamba_varnet import MambaVarNetSettings
from dealias.models.mambarecon import MambaReconSettings
from dealias.models.promptmr import PromptMRSettings
from dealias.models.promptmr_plus import PromptMRPlusSettings
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.models.varnet_fc import VarNetFCSettings

AnySettings = Annotated[
    UnetSettings
    | ChallengeUnetSettings
    | AttentionUnetSettings
    | VarNetSettings
    | VarNetFCSettings
    | PromptMRSettings
    | PromptMRPlusSettings
    | DIRCNSettings
    | FIVarNetSettings
    | HumusSettings
    | DHumusSettings
    | MambaReconSettings
    | MambaVarNetSettings,
    Field(discriminator="name"),
]
"""Settings of any network, told apart by their name."""
