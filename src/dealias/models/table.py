"""The table of networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dealias.models.network import Network, NetworkEntry
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
    ),
)

AnySettings = Annotated[UnetSettings | VarNetSettings, Field(discriminator="name")]
"""Settings of any network, told apart by their name."""


def build_network(settings: UnetSettings | VarNetSettings) -> Network:
    """The network that settings describe, with fresh weights."""
    return NETWORKS[settings.name].build(settings)
