"""What in a training follows its validation."""

from __future__ import annotations

from dealias.data.augment import AugmentSettings
from dealias.data.remask import MaskSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings


def following_validation(
    schedule: ScheduleSettings, training: TrainingSettings, augment: AugmentSettings,
    masks: MaskSettings,
) -> list[str]:  # fmt: skip
    """The settings, as key=value or key, that go by the validation and so need one."""
    asks = {
        "schedule.name=plateau": schedule.name == "plateau",
        "training.early_stop": bool(training.early_stop),
        "augment.strength.kind=slope": augment.strength.kind == "slope",
        "masks.probability.kind=slope": masks.probability.kind == "slope",
    }
    return [name for name, asked in asks.items() if asked]
