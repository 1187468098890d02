"""A recipe: the settings of every part, joined and judged."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from dealias.config.stages import BundleSettings, StageSettings, refuse_odd_stages
from dealias.data.augment import AugmentSettings
from dealias.data.remask import MaskSettings
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.metrics.protocol import PROTOCOLS, protocol_named
from dealias.models.settings import AnySettings
from dealias.models.varnet import VarNetSettings
from dealias.training.anatomy import AnatomySettings
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings


class DataSettings(BaseModel):
    """Which part of the data set is what: a folder, a pattern of names, a range of positions.

    Attributes:
        train: Such as "train", "train/brain_*", "train[0:280]".
        val: The same.
        use_val_for_final: Whether a final run trains on the scans of `val` as well. Nothing is
            validated then: the last checkpoint is taken, and there is no score to show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: str = "train"
    val: str = "val"
    use_val_for_final: bool = False


class Recipe(BaseModel):
    """Everything that decides what a run computes.

    Attributes:
        name: The recipe's name.
        task: "reconstruction" trains `network` by `loss`, judged by `protocol`; "anatomy" trains
            `classifier`, for which these three play no part.
        network: Settings of one network of the table, told by its `name`.
        classifier: What tells anatomies, and how it is trained, where the task is "anatomy".
        data: Splits.
        masks: How training scans are masked.
        augment: How their images are augmented.
        loss: The loss.
        optimiser: The optimiser.
        schedule: Of the learning rate.
        training: The loop.
        memory: The memory policy.
        protocol: By which the run is validated and its best epoch chosen.
        stages: Trainings that follow one another, by name; none is the one training of all this.
        bundle: The model that is made of them; None takes the last stage's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    task: Literal["reconstruction", "anatomy"] = "reconstruction"
    network: AnySettings = VarNetSettings()
    classifier: AnatomySettings = AnatomySettings()
    data: DataSettings = DataSettings()
    masks: MaskSettings = MaskSettings()
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    training: TrainingSettings = TrainingSettings()
    memory: MemoryPolicy = MemoryPolicy()
    protocol: str = "snu2025"
    stages: dict[str, StageSettings] = {}
    bundle: BundleSettings | None = None

    @field_validator("protocol")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return protocol_named(name).name
        except SettingsError:
            known = ", ".join(PROTOCOLS.names)
            text = f"one of {known}; snu2025@3e-05 sets a foreground threshold"
            raise ValueError(text) from None

    @model_validator(mode="after")
    def _stages_go_together(self) -> Recipe:
        refuse_odd_stages(self.stages, self.bundle)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = plain(self)
        there = {
            "task": self.task != "reconstruction", "classifier": self.classifier != _CLASSIFIER,
            "stages": bool(self.stages), "bundle": self.bundle is not None,
        }  # fmt: skip
        return {key: one for key, one in values.items() if there.get(key, True)}


_CLASSIFIER = AnatomySettings()
