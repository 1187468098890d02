"""What a family's masks are drawn with: accelerations and ACS lines, fixed or from a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from dealias.errors import SettingsError
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.table import FAMILIES
from dealias.table import nearest


class Between(BaseModel):
    """A share that is drawn evenly from low to high."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float = Field(gt=0, lt=1)
    high: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _in_order(self) -> Between:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


def _listed(value: Any) -> Any:
    """A range of whole numbers as the list of them."""
    if not isinstance(value, dict):
        return value
    whole = set(value) == {"low", "high"} and all(type(end) is int for end in value.values())
    if not whole or value["low"] > value["high"]:
        raise ValueError("a list, or a range such as {low: 3, high: 13}")
    return range(value["low"], value["high"] + 1)


def _share(value: Any) -> float | Between:
    """One share, or a range of them; a plain union would name its members in messages."""
    if isinstance(value, Between):
        return value
    try:
        if isinstance(value, dict):
            return Between(**value)
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share < 1:
        raise ValueError("a share between 0 and 1, or a range such as {low: 0.07, high: 0.1}")
    return share


def _written(share: float | Between) -> float | dict[str, float]:
    return share.model_dump() if isinstance(share, Between) else share


Whole = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)]
"""Whole numbers to draw from with equal chances: a list, or {low: 3, high: 13} for all of those."""
Share = Annotated[float | Between, PlainValidator(_share), PlainSerializer(_written)]
"""A share of lines, or {low: 0.07, high: 0.1} to draw it from."""


def known_kind(kind: str, *others: str) -> str:
    """The kind, if it is a family's name or one of the others; a ValueError if not."""
    names = [*others, *FAMILIES.names]
    if kind not in names:
        raise ValueError(f"one of {', '.join(names)}; {nearest(kind, names)}".rstrip("; "))
    return kind


@dataclass(frozen=True)
class MaskDraw:
    """A family, and what its masks are drawn with.

    Attributes:
        kind: The family's name.
        accelerations: To draw from, with equal chances.
        share: Of ACS lines; the challenge's rule has its own.
        lines: Numbers of ACS lines to draw from, in place of the share, where there are any.
    """

    kind: str
    accelerations: tuple[int, ...]
    share: float | Between
    lines: tuple[int, ...] = ()

    def __call__(
        self, hw: tuple[int, int], rng: np.random.Generator, acceleration: int | None = None
    ) -> SamplingMask:
        """One mask.

        Args:
            hw: (H, W) of k-space.
            rng: Draws the acceleration, the ACS lines, then the mask.
            acceleration: In place of one that is drawn.

        Raises:
            SettingsError: The family has no such mask at this width.
        """
        rate = int(rng.choice(self.accelerations)) if acceleration is None else acceleration
        return FAMILIES[self.kind].draw(hw, rate, self._share(hw[1], rng), rng)

    def refuse_impossible(self, hw: tuple[int, int]) -> None:
        """Try the hardest case, the highest acceleration with the most ACS lines.

        Raises:
            SettingsError: The family has no such mask at this width.
        """
        share = self.share.high if isinstance(self.share, Between) else self.share
        lines = (max(self.lines),) if self.lines else ()
        hardest = MaskDraw(self.kind, (max(self.accelerations),), share, lines)
        hardest(hw, np.random.default_rng(0))

    def _share(self, width: int, rng: np.random.Generator) -> float:
        if self.lines:
            count = int(rng.choice(self.lines))
            if count >= width:
                found, expected = f"{count} of {width} lines", "fewer ACS lines than lines"
                raise SettingsError("masks.centre_lines", found, expected)
            return count / width
        if isinstance(self.share, Between):
            return float(rng.uniform(self.share.low, self.share.high))
        return self.share
