"""Which mask a training sample is seen through; drawn by counted randomness."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dealias.data.mask_draw import MaskDraw, Share, Whole, known_kind
from dealias.data.mask_mixture import MixedMask, any_but_the_rule, mixed_mask, own_mask
from dealias.data.strength import StrengthSettings, strength
from dealias.errors import DataError
from dealias.io.mask import load_mask
from dealias.physics.sampling.drop import without_lines
from dealias.physics.sampling.jitter import with_moved_acs
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.table import FAMILIES
from dealias.randomness import generator
from dealias.scan.scan import Scan

_NO_FAMILY = ("stored", "file")


class DropSettings(BaseModel):
    """Lines that are left out of a mask.

    Attributes:
        lines: How many, at random outside the ACS.
        probability: Times `masks.probability` of the epoch, the chance of a sample to lose them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: int = Field(default=1, ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)


class JitterSettings(BaseModel):
    """ACS lines that lie beside the centre.

    Attributes:
        lines: The most that their block is moved, to either side; it still holds the centre.
        probability: As that of `DropSettings`, drawn for itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: int = Field(default=2, ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)


class MaskSettings(BaseModel):
    """How training scans are masked.

    Validation scans keep their own masks; those that have none are masked by `kind` alone.

    Attributes:
        kind: "stored" takes each scan's own mask; "file" re-masks fully sampled scans by one stored
            mask; the name of a family draws an acceleration, and a mask of that family.
        accelerations: To draw from, with equal chances: a list, or {low: 3, high: 13}.
        centre_fraction: Share of ACS lines, or {low: 0.07, high: 0.1} to draw it from; the
            challenge's rule has its own.
        centre_lines: Numbers of ACS lines to draw from, in place of a share.
        file: The mask of kind "file": .npy, or .h5 with `mask`.
        each_acceleration: Whether an epoch holds every slice once at each of the accelerations,
            instead of once at one that is drawn. Needs the kind to be a family: a stored mask has
            the one acceleration that it has.
        mixture: Kinds of masks in place of `kind`, by weight.
        probability: The chance, by epoch, that a sample is masked by the mixture; else `kind`
            masks it.
        exclude: "snu" draws again what comes out as the challenge's own mask. It speaks of the
            mixture, or of `kind` where there is none.
        drop: Lines left out of the masks, of whatever kind.
        jitter: How the block of ACS lines is moved, of masks over phase-encode lines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = "stored"
    accelerations: Whole = Field(default=(4, 8), min_length=1)
    centre_fraction: Share = 0.08
    centre_lines: Whole = ()
    file: Path | None = None
    each_acceleration: bool = False
    mixture: tuple[MixedMask, ...] = ()
    probability: StrengthSettings = StrengthSettings()
    exclude: Literal["snu"] | None = None
    drop: DropSettings | None = None
    jitter: JitterSettings | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        return known_kind(kind, *_NO_FAMILY)

    @model_validator(mode="after")
    def _has_its_file(self) -> MaskSettings:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("kind=file and file go together: set both or neither")
        return self

    @model_validator(mode="after")
    def _can_have_copies(self) -> MaskSettings:
        if self.each_acceleration and self.kind in _NO_FAMILY:
            raise ValueError(f"each_acceleration needs a family such as kind=snu, not {self.kind}")
        return self

    @model_validator(mode="after")
    def _can_exclude(self) -> MaskSettings:
        if self.exclude is None:
            return self
        if "snu" in self._other_kinds:
            raise ValueError("exclude=snu leaves no mask of kind snu; choose other kinds")
        if not self.mixture and self.kind in _NO_FAMILY:
            raise ValueError(f"exclude needs masks that are drawn, and kind is {self.kind}")
        return self

    @model_validator(mode="after")
    def _varies_something(self) -> MaskSettings:
        varied = self.mixture or self.drop or self.jitter
        if self.probability != StrengthSettings() and not varied:
            raise ValueError("probability is of mixture, drop or jitter: set one of them")
        return self

    @model_validator(mode="after")
    def _is_of_the_same_axes(self) -> MaskSettings:
        if len({FAMILIES[kind].axes for kind in self.families}) > 1:
            raise ValueError("kind and mixture must all be over one axis, or all over two")
        if self.jitter and any(len(FAMILIES[kind].axes) == 2 for kind in self.families):
            raise ValueError("jitter is of masks over one axis")
        return self

    @property
    def _other_kinds(self) -> tuple[str, ...]:
        """Kinds that `exclude` speaks of."""
        return tuple(one.kind for one in self.mixture) or (self.kind,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """All that a sample may get."""
        return (self.kind, *(one.kind for one in self.mixture))

    @property
    def families(self) -> tuple[str, ...]:
        """Those of them that are drawn."""
        return tuple(kind for kind in self.kinds if kind not in _NO_FAMILY)

    @property
    def copies(self) -> int:
        """Samples that an epoch holds of each slice: those of a slice follow each other."""
        return len(self.accelerations) if self.each_acceleration else 1

    @property
    def base(self) -> MaskDraw:
        """How masks of `kind` are drawn, where it is a family."""
        return MaskDraw(self.kind, self.accelerations, self.centre_fraction, self.centre_lines)

    def acceleration(self, index: int) -> int | None:
        """Of the sample with this index; None where it is drawn."""
        return self.accelerations[index % self.copies] if self.each_acceleration else None


def training_mask(
    settings: MaskSettings, scan: Scan, seed: int, epoch: int, index: int, chance: float = 1.0
) -> SamplingMask:
    """The mask of one sample in one epoch.

    A higher chance changes masks only from `kind`'s to the mixture's, and from whole to thinned:
    which mask it would be does not depend on it.

    Args:
        settings: How.
        scan: Of which scan.
        seed: The run's seed.
        epoch: Of the run.
        index: Of the sample.
        chance: What `settings.probability` is in this epoch.

    Returns:
        The mask: a function of the arguments alone.

    Raises:
        DataError: The scan has no mask of its own, or is masked already and cannot be re-masked.
        SettingsError: A family has no such mask at this width, or none but the excluded one.
    """
    _refuse_masked(scan, settings.kinds)
    another, dropped = generator(seed, "remask", epoch, index).random(2)
    mixed = bool(settings.mixture) and bool(another < chance)
    mask = _whole_mask(settings, scan, seed, epoch, index, mixed)
    jitter, rng = settings.jitter, generator(seed, "jitter", epoch, index)
    if jitter is not None and rng.random() < chance * jitter.probability:
        mask = with_moved_acs(mask, jitter.lines, rng)
    drop = settings.drop
    if drop is None or dropped >= chance * drop.probability:
        return mask
    return without_lines(mask, drop.lines, generator(seed, "drop", epoch, index))


def validation_mask(settings: MaskSettings, scan: Scan, seed: int, index: int) -> SamplingMask:
    """The mask of a validation scan: its own, or one of `kind`, the same in every epoch.

    It is as at strength 0, whatever training mixes, excludes, drops or copies, so that scores can
    be compared across epochs, and across runs that differ in these alone.

    Args:
        settings: How.
        scan: Of which scan.
        seed: The run's seed.
        index: Of the scan.

    Raises:
        DataError: There is no mask to take, or the scan cannot be re-masked.
    """
    if scan.mask is not None:
        return scan.mask
    _refuse_masked(scan, (settings.kind,))
    return _base(settings, scan, generator(seed, "mask", 0, index), None)


def example_masks(
    settings: MaskSettings, scans: Sequence[Scan], seed: int, epochs: int, count: int
) -> list[SamplingMask]:
    """Some masks of a training, from all of its epochs and scans.

    Args:
        settings: How they are drawn.
        scans: To be masked.
        seed: The run's seed.
        epochs: Of the run.
        count: How many.
    """
    # where it follows the loss, the probability is what it comes to once that no longer falls
    flat = (0.0,) * settings.probability.window
    chances = [strength(settings.probability, i * epochs // count, flat) for i in range(count)]
    return [
        training_mask(settings, scans[i % len(scans)], seed, i, i, chance)
        for i, chance in enumerate(chances)
    ]


def mask_axes(settings: MaskSettings, scan: Scan) -> tuple[int, ...]:
    """Axes of whatever mask a scan may get, as `SamplingMask.axes`; () where it has none.

    Raises:
        DataError: They are not always the same, so that no batch could be made of them.
    """
    found = {FAMILIES[kind].axes for kind in settings.families}
    if settings.file is not None:
        found.add(_stored(settings.file, scan).axes)
    if "stored" in settings.kinds and scan.mask is not None:
        found.add(scan.mask.axes)
    if len(found) > 1:
        expected = "masks over as many axes as the scan's own"
        raise DataError(scan.name, "another mask than masks.mixture draws", expected)
    return found.pop() if found else ()


def refuse_mixture(settings: MaskSettings, scans: Sequence[Scan]) -> None:
    """Refuse at once a mixture that would fail, as its turn may come only after days of training.

    Raises:
        DataError: A scan lacks the mask of its own that the mixture may take.
        SettingsError: A family has no such mask at some width.
    """
    kinds = [one for one in settings.mixture if one.kind != "stored"]
    for hw in sorted({(scan.shape[2], scan.shape[3]) for scan in scans}):
        for one in kinds:
            one.instead_of(settings.base).refuse_impossible(hw)
    if len(kinds) < len(settings.mixture):
        for scan in scans:
            own_mask(scan)


def _whole_mask(
    settings: MaskSettings, scan: Scan, seed: int, epoch: int, index: int, mixed: bool
) -> SamplingMask:
    """A sample's mask before lines are left out."""
    rate = settings.acceleration(index)
    rng = generator(seed, "mixture" if mixed else "mask", epoch, index)

    def draw() -> SamplingMask:
        if mixed:
            return mixed_mask(settings.mixture, settings.base, scan, rng, rate)
        return _base(settings, scan, rng, rate)

    excluding = settings.exclude is not None and mixed == bool(settings.mixture)
    return any_but_the_rule(draw) if excluding else draw()


def _base(
    settings: MaskSettings, scan: Scan, rng: np.random.Generator, acceleration: int | None
) -> SamplingMask:
    """A mask of `kind`."""
    if settings.kind == "stored":
        return own_mask(scan)
    if settings.file is not None:
        return _stored(settings.file, scan)
    return settings.base((scan.shape[2], scan.shape[3]), rng, acceleration)


def _refuse_masked(scan: Scan, kinds: Sequence[str]) -> None:
    if not scan.full and any(kind != "stored" for kind in kinds):
        do = "set masks.kind=stored" + (" without a mixture" if len(kinds) > 1 else "")
        raise DataError(scan.name, "k-space that is masked already", "fully sampled k-space", do)


def _stored(path: Path, scan: Scan) -> SamplingMask:
    mask = _load(path)
    if mask.lines.shape not in (scan.shape[3:], scan.shape[2:]):
        expected = f"{scan.shape[3:]} or {scan.shape[2:]}, as {scan.name} has"
        raise DataError(path, f"a mask of shape {mask.lines.shape}", expected, "set masks.file")
    return mask


_load = cache(load_mask)
