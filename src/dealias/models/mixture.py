"""Networks made of networks: experts, one of which is chosen for each batch, and ensembles.

Team sMaRtIfy trained an expert for each anatomy and acceleration (SNU fastMRI challenge 2025), Team
HsThMRI averaged the images of four kinds of networks (2022).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator, model_validator
from torch import nn

from dealias.errors import SettingsError
from dealias.models.attention_unet import AttentionUnetSettings
from dealias.models.dircn import DIRCNSettings
from dealias.models.network import Network, NetworkSettings
from dealias.models.promptmr_plus import PromptMRPlusSettings
from dealias.models.settings import AnySettings
from dealias.models.varnet_fc import VarNetFCSettings
from dealias.scan.measurement import Estimate, Measurement, Needs
from dealias.table import nearest

MOST = 64
"""Members that settings may name."""
TOLERANCE = 1e-6
"""How far from 1 the sum of an ensemble's weights may be, as they are written with few digits."""
Weight = Annotated[float, Field(ge=0, le=1)]
Settings = TypeVar("Settings", bound=NetworkSettings)


class MixtureSettings(NetworkSettings):
    """Settings of a network that is made of others.

    Attributes:
        readout_crop: Of all members, in place of their own; None leaves each its own, in which
            they must agree.
        compression: The same.
    """

    def own(self, member: Settings) -> Settings:
        """Settings that a member is built with."""
        ours = {"readout_crop": self.readout_crop, "compression": self.compression}
        given = {key: value for key, value in ours.items() if value is not None}
        return member.model_copy(update=given)


def _team_2022() -> tuple[AnySettings, ...]:
    fc = {"groups": 1, "channels": 18, "sens_channels": 8}
    return (
        AttentionUnetSettings(),
        VarNetFCSettings(),
        DIRCNSettings.model_validate({**fc, "cascades": 6, "denoiser": "unet-fc"}),
        DIRCNSettings.model_validate({**fc, "cascades": 5, "denoiser": "attention-unet-fc"}),
    )


def _team_2025() -> dict[str, AnySettings | EnsembleSettings]:
    expert = PromptMRPlusSettings(
        cascades=8, slices=1, history=3, features=(8, 24, 32, 40), prompt_channels=(8, 16, 24),
        sens_features=(8, 12, 16, 20), sens_prompt_channels=(4, 8, 12), prompts=(3, 3, 3),
        prompt_size=(16, 8, 4), reduction=2,
    )  # fmt: skip
    cells = ("brain-x4", "brain-x8", "knee-x4", "knee-x8")
    return dict.fromkeys(cells, expert)


class EnsembleSettings(MixtureSettings):
    """Settings of an ensemble; the defaults are those of Team HsThMRI, 2022.

    Attributes:
        name: "ensemble".
        members: Settings of each.
        weights: Of their images, not negative, 1 in all; None for equal ones. Members of weight 0
            do not run.
    """

    name: Literal["ensemble"] = "ensemble"
    members: tuple[AnySettings, ...] = Field(
        default_factory=_team_2022, min_length=1, max_length=MOST
    )
    weights: tuple[Weight, ...] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> EnsembleSettings:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.members)} members need as many weights")
        if abs(sum(self.weights) - 1) > TOLERANCE:
            raise ValueError(f"weights must be 1 in all, these are {sum(self.weights):g}")
        return self

    def shares(self) -> tuple[float, ...]:
        """Each member's weight."""
        return self.weights or (1 / len(self.members),) * len(self.members)


class ExpertsSettings(MixtureSettings):
    """Settings of experts; the defaults are those of Team sMaRtIfy, 2025.

    Attributes:
        name: "experts".
        members: Settings of each, by the name that routes call it; an expert may be an ensemble.
    """

    name: Literal["experts"] = "experts"
    members: dict[str, Annotated[AnySettings | EnsembleSettings, Field(discriminator="name")]] = (
        Field(default_factory=_team_2025, min_length=1, max_length=MOST)
    )

    @field_validator("members")
    @classmethod
    def _names_are_plain(cls, members: dict[str, NetworkSettings]) -> dict[str, NetworkSettings]:
        for name in members:
            # they become parts of parameters' names
            if not name or "." in name or not name.isprintable() or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"'{name}' cannot name an expert; take a name such as brain-x4")
        return members


class Experts(Network):
    """Runs the member that the measurement's route names; who decides the route is not its matter.

    Args:
        members: By name. Nothing is shared between them.

    Raises:
        SettingsError: They ask for data that cannot be one measurement.
    """

    def __init__(self, members: Mapping[str, Network]) -> None:
        super().__init__()
        self.needs = together({name: member.needs for name, member in members.items()})
        self.members = nn.ModuleDict(members)
        self.routes = list(members)

    def forward(self, measurement: Measurement) -> Estimate:
        """What the expert makes of the batch.

        Raises:
            SettingsError: The measurement has no route, or names no expert.
        """
        route = measurement.route
        if route is None or route not in self.members:
            found = "none" if route is None else f"'{route}'"
            advice = nearest(route or "", list(self.routes))
            raise SettingsError("route", found, f"one of {', '.join(self.routes)}", advice)
        return self.members[route](measurement)


class Ensemble(Network):
    """The weighted average of its members' images.

    Of the images alone: the complex, coil-combined ones belong to maps of their own, whose phases
    differ from member to member, so that they do not add up.

    Args:
        members: In the order of the weights. Nothing is shared between them.
        weights: Not negative, 1 in all. Members of weight 0 do not run.

    Raises:
        SettingsError: They ask for data that cannot be one measurement.
    """

    def __init__(self, members: Sequence[Network], weights: Sequence[float]) -> None:
        super().__init__()
        self.needs = together({str(number): one.needs for number, one in enumerate(members)})
        self.members = nn.ModuleList(members)
        self.weights = tuple(weights)

    def forward(self, measurement: Measurement) -> Estimate:
        """The average of what they make of the batch."""
        pairs = zip(self.weights, self.members, strict=True)
        images = (weight * member(measurement).image_BHW for weight, member in pairs if weight)
        return Estimate(functools.reduce(operator.add, images))


def together(needs: Mapping[str, Needs]) -> Needs:
    """What one measurement must have for networks that each ask for something.

    A network leaves alone the maps and priors that it did not ask for; slices and rows it would
    see.

    Args:
        needs: Of each network, by its name.

    Raises:
        SettingsError: Two ask for what excludes each other; the message names them.
    """
    mapped = {name: one for name, one in needs.items() if one.maps != "none"}
    informed = {name: one for name, one in needs.items() if one.priors}
    _agree(needs, "slices", "readout_crop", "compression")
    _agree(mapped, "crop", "sets")
    _agree(informed, "stored_priors")
    first = next(iter(needs.values()))
    maps, prior = (next(iter(some.values()), first) for some in (mapped, informed))
    return replace(
        first, maps=maps.maps, crop=maps.crop, sets=maps.sets, stored_priors=prior.stored_priors,
        priors=tuple(dict.fromkeys(prior for one in needs.values() for prior in one.priors)),
    )  # fmt: skip


def _agree(needs: Mapping[str, Needs], *fields: str) -> None:
    first = next(iter(needs), "")
    for field in fields:
        for name, one in needs.items():
            wanted, found = getattr(needs[first], field), getattr(one, field)
            if found != wanted:
                said = f"{field}={wanted} of '{first}', {field}={found} of '{name}'"
                raise SettingsError("members", said, "the same of all")
