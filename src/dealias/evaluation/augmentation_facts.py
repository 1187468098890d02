"""What was found of image augmentation, for whoever only shows it: nothing here needs torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Limits = dict[str, float | tuple[float, float]]
"""As `data.augment.TransformSettings` names them."""


class HistogramFacts(BaseModel):
    """How often a quantity lies where.

    Attributes:
        edges: Of the bins, the same before and after.
        before: Slices in each bin as the data are.
        after: The same with augmentation.
        overlap: The share that both have in common, 0..1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    overlap: float


class AugmentationFacts(BaseModel):
    """Of one anatomy.

    Attributes:
        slices: How many were looked at.
        strength: Of the augmentation that was looked at: the recipe's highest.
        histograms: By quantity, as `data.positions.Position` names them.
        limits: The recipe's, by name.
        proposed: Those that move no slice further than slices differ.
        noise: Standard deviation of white noise that is left of 1, by interpolation mode.
        interpolation: The recipe's mode.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slices: int
    strength: float
    histograms: dict[str, HistogramFacts]
    limits: Limits
    proposed: Limits
    noise: dict[str, float]
    interpolation: str
