"""What a sweep tries: settings with their values, how they are chosen, when a trial is given up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite, prod
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dealias.config.strict import read_yaml
from dealias.config.validate import checked

Number = int | float
_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


class Parameter(BaseModel):
    """What a setting may be: one of some values, or any number of a range.

    Attributes:
        choices: Values; a single one is fixed. A list or a value is short for it.
        low: The smallest number of a range.
        high: The largest. Where both are whole numbers, whole ones are drawn.
        log: Whether each factor of ten counts alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    choices: tuple[Any, ...] = ()
    low: Number | None = None
    high: Number | None = None
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        return {"choices": value if isinstance(value, list | tuple) else [value]}

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Parameter:
        ends = [one for one in (self.low, self.high) if one is not None]
        if bool(self.choices) == bool(ends) or len(ends) == 1:
            raise ValueError("values, or {low: ..., high: ...}")
        if ends and not (all(map(isfinite, ends)) and ends[0] < ends[1]):
            raise ValueError("a low that is less than high")
        if self.log and not (ends and ends[0] > 0):
            raise ValueError("a range above 0, as log: true asks")
        texts = [said(one) for one in self.choices]
        if len(set(texts)) < len(texts):
            raise ValueError("each value once")
        return self

    @property
    def varied(self) -> bool:
        """Whether there is more than one value."""
        return len(self.choices) != 1

    @property
    def ends(self) -> tuple[Number, Number] | None:
        """Of a range; None for values."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def whole(self) -> bool:
        """Whether a range is of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def first(self) -> Any:
        """The first value, or the smallest number."""
        return self.choices[0] if self.choices else self.low


class PruneSettings(BaseModel):
    """When a trial is given up: its best validation is below the median of the finished ones'.

    The median stopping rule of Golovin et al. 2017 (Google Vizier), with the best validation so far
    in place of their running average.

    Attributes:
        startup_trials: Trials that finish before any is given up.
        warmup_epochs: Epochs that every trial has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    startup_trials: int = Field(default=4, ge=1)
    warmup_epochs: int = Field(default=1, ge=0)


class Space(BaseModel):
    """What a sweep tries.

    Attributes:
        method: "grid" tries all values together; "random" draws each trial; "tpe" draws it where
            the trials so far were good (Optuna's sampler, after Bergstra et al. 2011).
        seed: Of what is drawn; it is not the trainings' seed.
        space: Settings by their dotted keys.
        prune: When a trial is given up; None trains all of them to the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["grid", "random", "tpe"] = "random"
    seed: int = Field(default=0, ge=0)
    space: dict[str, Parameter] = Field(min_length=1)
    prune: PruneSettings | None = None

    @field_validator("space")
    @classmethod
    def _keys_of_settings(cls, space: dict[str, Parameter]) -> dict[str, Parameter]:
        for key in space:
            if not _KEY.fullmatch(key):
                raise ValueError(f"dotted keys such as optimiser.lr, not '{key}'")
        if not any(one.varied for one in space.values()):
            raise ValueError("a setting with more than one value")
        return space

    @model_validator(mode="after")
    def _grid_of_values(self) -> Space:
        ranges = [key for key, one in self.space.items() if one.ends is not None]
        if self.method == "grid" and ranges:
            raise ValueError(f"values for a grid: {ranges[0]} is a range")
        return self

    @property
    def varied(self) -> dict[str, Parameter]:
        """The settings that have more than one value."""
        return {key: one for key, one in self.space.items() if one.varied}

    @property
    def points(self) -> int | None:
        """How many different trials there are; None for no end of them."""
        if any(one.ends is not None for one in self.space.values()):
            return None
        return prod(len(one.choices) for one in self.space.values())


def read_space(path: Path) -> Space:
    """The space that a YAML file describes.

    Raises:
        SettingsError: It cannot be read, or describes none.
    """
    return checked(Space, read_yaml(path), str(path))


def overrides(values: dict[str, Any]) -> list[str]:
    """Values of settings as they are typed after a recipe's name."""
    return [f"{key}={said(value)}" for key, value in values.items()]


def said(value: Any) -> str:
    """A plain value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(said, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(_pairs(value))}}}"
    text = str(value)
    if re.fullmatch(r"[\w.+/@%-]+", text) and text.lower() not in ("true", "false", "null"):
        return text
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


def _pairs(value: dict[Any, Any]) -> Iterator[str]:
    for key, one in value.items():
        yield f"{key}:{said(one)}"
