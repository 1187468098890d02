"""Which image augmentation a training sample gets (MRAugment), drawn by counted randomness.

Fabian, Heckel, Soltanolkotabi: Data augmentation for deep learning based accelerated MRI
reconstruction with limited data, ICML 2021 (arXiv:2106.14947).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dealias.data.strength import StrengthSettings
from dealias.physics.warp import Affine, Edges, Interpolation, Transform

_Part = Annotated[float, Field(ge=0, le=1)]
_Slant = Annotated[float, Field(ge=0, lt=45)]
KINDS = ("flip_h", "flip_v", "rot90", "translation", "rotation", "shear", "scaling")
"""In the order in which they are applied."""


class TransformSettings(BaseModel):
    """Weights of the transforms, and how far those go that have a limit.

    A transform happens with the probability weight x strength of the epoch, each by itself; how far
    it goes is uniform within its limit.

    Attributes:
        flip_h: Left and right change places.
        flip_v: Top and bottom do.
        rot90: One, two or three quarter turns. Where the k-space grid is not square, one and three
            are cropped and continued about the centre; where that would lose a part of the target's
            field of view, there are half turns alone.
        translation: By whole pixels.
        rotation: About the grid's middle, and so do
        shear: and
        scaling: these three are one warp, which interpolates.
        max_translation: Share of k-space's H, and of its W.
        max_rotation: Degrees, both ways.
        max_shear: Degrees: of rows by column, of columns by row.
        max_scaling: 0.1 scales by 0.9 to 1.1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip_h: float = Field(default=0.0, ge=0, le=1)
    flip_v: float = Field(default=0.0, ge=0, le=1)
    rot90: float = Field(default=0.0, ge=0, le=1)
    translation: float = Field(default=0.0, ge=0, le=1)
    rotation: float = Field(default=0.0, ge=0, le=1)
    shear: float = Field(default=0.0, ge=0, le=1)
    scaling: float = Field(default=0.0, ge=0, le=1)
    max_translation: tuple[_Part, _Part] = (0.05, 0.05)
    max_rotation: float = Field(default=5.0, ge=0, le=180)
    max_shear: tuple[_Slant, _Slant] = (5.0, 5.0)
    max_scaling: float = Field(default=0.1, ge=0, le=0.5)

    @property
    def active(self) -> bool:
        """Whether anything can happen."""
        return any(getattr(self, kind) for kind in KINDS)

    @property
    def moves_rows(self) -> bool:
        """Whether a readout row may get anything from another one."""
        others = (self.flip_v, self.rot90, self.rotation, self.shear, self.scaling)
        return any(others) or bool(self.translation and self.max_translation[0])


class AugmentSettings(BaseModel):
    """Image augmentation of training samples; off as long as all weights are 0 and none are mixed.

    Attributes:
        transforms: Weights and limits.
        brain: Those of brains in their place, all of them.
        knee: The same for knees.
        interpolation: Of the warp. "bilinear" and "bicubic" smooth noise, in the target too.
        edges: What lies beyond an image's edges.
        strength: By epoch.
        mixup: a of the Beta(a, a) that the share of the sample itself is drawn from; the rest is
            another slice of its shape and anatomy (`data.mixup`). What comes out is moved as one.
            The epoch's strength is the probability that a sample is mixed; None mixes none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    transforms: TransformSettings = TransformSettings()
    brain: TransformSettings | None = None
    knee: TransformSettings | None = None
    interpolation: Interpolation = "bilinear"
    edges: Edges = "reflect"
    strength: StrengthSettings = StrengthSettings()
    mixup: float | None = Field(default=None, gt=0)

    def of(self, anatomy: str | None) -> TransformSettings:
        """Weights and limits for an anatomy; None is an unknown one."""
        own = {"brain": self.brain, "knee": self.knee}.get(anatomy or "")
        return self.transforms if own is None else own

    @property
    def active(self) -> bool:
        """Whether anything can happen to any sample."""
        moved = any(one.active for one in (self.transforms, self.brain, self.knee) if one)
        return moved or self.mixup is not None


UNAUGMENTED = AugmentSettings()


def drawn(
    settings: TransformSettings,
    strength: float,
    encoded_hw: tuple[int, int],
    target_hw: tuple[int, int],
    rng: np.random.Generator,
) -> Transform:
    """What happens to one sample.

    Which transforms happen and how far they would go are drawn whatever the weights are, so that
    changing one of them leaves the others' draws alone.

    Args:
        settings: Weights and limits for the sample's anatomy.
        strength: Of the epoch, 0..1.
        encoded_hw: k-space's grid.
        target_hw: The target's.
        rng: Counted by the sample's place in the run.

    Returns:
        The transform.
    """
    chances = dict(zip(KINDS, rng.random(len(KINDS)), strict=True))
    happens = {kind: bool(chances[kind] < strength * getattr(settings, kind)) for kind in KINDS}
    down, right, rotation, by_h, by_w, scaling = rng.uniform(-1, 1, 6)
    quarters = int(rng.integers(1, 4)) if _turns(encoded_hw, target_hw) else 2
    shares = zip((down, right), settings.max_translation, encoded_hw, strict=True)
    shift = [round(far * share * size) for far, share, size in shares]
    shear = (by_h * settings.max_shear[0], by_w * settings.max_shear[1])
    return Transform(
        happens["flip_h"],
        happens["flip_v"],
        quarters * happens["rot90"],
        (shift[0], shift[1]) if happens["translation"] else (0, 0),
        Affine(
            float(rotation * settings.max_rotation * happens["rotation"]),
            shear if happens["shear"] else (0.0, 0.0),
            float(1 + scaling * settings.max_scaling * happens["scaling"]),
        ),
    )


def _turns(encoded_hw: tuple[int, int], target_hw: tuple[int, int]) -> bool:
    """Whether k-space's grid still covers the target's after a quarter turn."""
    (h, w), (target_h, target_w) = encoded_hw, target_hw
    return w >= target_h and h >= target_w
