"""A recipe: the settings of every part, joined and judged."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dealias.data.remask import MaskSettings
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.metrics.protocol import PROTOCOLS, protocol_named
from dealias.models.settings import AnySettings
from dealias.models.varnet import VarNetSettings
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings


class DataSettings(BaseModel):
    """Which part of the data set is what: a folder, a pattern of names, a range of positions.

    Attributes:
        train: Such as "train", "train/brain_*", "train[0:280]".
        val: The same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: str = "train"
    val: str = "val"


class Recipe(BaseModel):
    """Everything that decides what a run computes.

    Attributes:
        name: The recipe's name.
        network: Settings of one network of the table, told by its `name`.
        data: Splits.
        masks: How training scans are masked.
        loss: The loss.
        optimiser: The optimiser.
        schedule: Of the learning rate.
        training: The loop.
        memory: The memory policy.
        protocol: By which the run is validated and its best epoch chosen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    network: AnySettings = VarNetSettings()
    data: DataSettings = DataSettings()
    masks: MaskSettings = MaskSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    training: TrainingSettings = TrainingSettings()
    memory: MemoryPolicy = MemoryPolicy()
    protocol: str = "snu2025"

    @field_validator("protocol")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return protocol_named(name).name
        except SettingsError:
            known = ", ".join(PROTOCOLS.names)
            text = f"one of {known}; snu2025@3e-05 sets a foreground threshold"
            raise ValueError(text) from None
