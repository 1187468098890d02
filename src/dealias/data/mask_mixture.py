"""A mixture of masks: one kind or another by weight, and never one that is excluded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dealias.data.mask_draw import MaskDraw, Share, Whole, known_kind
from dealias.errors import DataError, SettingsError
from dealias.physics.sampling.identify import public_rule
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Scan

TRIES = 100
"""Masks drawn in search of one that is not excluded; half of all lattices at X2 are the rule's."""


class MixedMask(BaseModel):
    """One kind of masks in a mixture. What it does not say is as for the masks it replaces.

    A lattice with a random start is kind "equispaced", one with the challenge's start "snu".

    Attributes:
        kind: The name of a family, or "stored" for the scan's own mask.
        weight: Its share of the mixture, relative to the others'.
        accelerations: To draw from, with equal chances: a list, or {low: 3, high: 13}.
        centre_fraction: Share of ACS lines, or {low: 0.07, high: 0.1} to draw it from.
        centre_lines: Numbers of ACS lines to draw from, in place of a share.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    weight: float = Field(default=1.0, gt=0)
    accelerations: Whole | None = Field(default=None, min_length=1)
    centre_fraction: Share | None = None
    centre_lines: Whole = ()

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        return known_kind(kind, "stored")

    def instead_of(self, base: MaskDraw) -> MaskDraw:
        """How its masks are drawn, where it is not "stored"."""
        own = self.centre_fraction is not None or bool(self.centre_lines)
        share = base.share if self.centre_fraction is None else self.centre_fraction
        lines = self.centre_lines if own else base.lines
        return MaskDraw(self.kind, self.accelerations or base.accelerations, share, lines)


def mixed_mask(
    mixture: Sequence[MixedMask],
    base: MaskDraw,
    scan: Scan,
    rng: np.random.Generator,
    acceleration: int | None,
) -> SamplingMask:
    """A mask of one of the kinds.

    Args:
        mixture: The kinds, at least one.
        base: What they are drawn with where they do not say.
        scan: Whose mask it will be.
        rng: Draws the kind, then its mask.
        acceleration: For kinds without accelerations of their own, in place of one that is drawn.

    Raises:
        DataError: A scan without a mask of its own.
        SettingsError: A family has no such mask at this width.
    """
    weights = np.array([kind.weight for kind in mixture])
    kind = mixture[rng.choice(len(mixture), p=weights / weights.sum())]
    if kind.kind == "stored":
        return own_mask(scan)
    rate = None if kind.accelerations else acceleration
    return kind.instead_of(base)((scan.shape[2], scan.shape[3]), rng, rate)


def own_mask(scan: Scan) -> SamplingMask:
    """The scan's own mask.

    Raises:
        DataError: It has none.
    """
    if scan.mask is None:
        raise DataError(scan.name, "no mask", "a stored one", "set masks.kind=snu")
    return scan.mask


def any_but_the_rule(draw: Callable[[], SamplingMask]) -> SamplingMask:
    """The first mask drawn that is not the challenge's at any acceleration.

    The test is on the lines, not on names or offsets: whatever `identify` would call "snu" is drawn
    again, whichever family it came from, and the others stay as likely, relative to each other, as
    they were.

    Args:
        draw: Gives another mask each time.

    Raises:
        SettingsError: There seems to be no other.
    """
    for _ in range(TRIES):
        mask = draw()
        if public_rule(mask.lines) is None:
            return mask
    found = f"the public rule's mask {TRIES} times in a row"
    raise SettingsError("masks.exclude", found, "kinds that have other masks", "see masks.mixture")
