"""The table of networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dealias.models.network import Network, NetworkEntry
from dealias.models.promptmr_plus import PromptMRPlus, PromptMRPlusSettings
from dealias.models.unet import ImageUnet, UnetSettings
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.table import Table

NETWORKS = Table(
    "network",
    (
        NetworkEntry(
            name="unet",
            settings=UnetSettings,
            build=ImageUnet,
            parameters=7_756_097,
            paper="Zbontar et al. 2018, arXiv:1811.08839",
            tiny=UnetSettings(channels=4, pools=2),
        ),
        NetworkEntry(
            name="varnet",
            settings=VarNetSettings,
            build=VarNet,
            parameters=29_936_966,
            paper="Sriram et al. 2020, arXiv:2004.06688",
            tiny=VarNetSettings(cascades=2, channels=4, pools=2, sens_channels=4, sens_pools=2),
        ),
        NetworkEntry(
            name="promptmr+",
            settings=PromptMRPlusSettings,
            build=PromptMRPlus,
            parameters=92_859_005,
            paper="Xin et al. 2024, ECCV, LNCS 15142",
            tiny=PromptMRPlusSettings(
                cascades=2, slices=3, history=2, features=(6, 8, 10, 12), prompt_channels=(2, 3, 4),
                sens_features=(3, 4, 5, 6), sens_prompt_channels=(2, 2, 3), prompts=(2, 2, 2),
                prompt_size=(4, 3, 2), encoder=(1, 1, 1), decoder=(1, 1, 1), bottleneck=1,
            ),
        ),
    ),
)  # fmt: skip

AnySettings = Annotated[
    UnetSettings | VarNetSettings | PromptMRPlusSettings, Field(discriminator="name")
]
"""Settings of any network, told apart by their name."""


def build_network(settings: AnySettings) -> Network:
    """The network that settings describe, with fresh weights."""
    return NETWORKS[settings.name].build(settings)
