"""Losses: weighted sums of terms, inside the foreground, by the anatomy that a slice shows."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from dealias.table import nearest
from dealias.training.loss_terms import LOSS_TERMS


class TermSettings(BaseModel):
    """One term of the loss.

    Attributes:
        kind: "ssim" is 1 - SSIM as the protocols have it; "l1", "l2" and "psnr" of the error over
            the data range; "ms-ssim" is 1 - MS-SSIM of five scales, for images of at least
            161 x 161; "ms-ssim-l1" the published mix of both for training; "kspace-l1" the mean
            magnitude of the error's k-space.
        weight: Its factor.
        from_epoch: First epoch that it counts in.
        foreground: Whether this term is shaded outside the foreground; None for what the loss says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    from_epoch: int = Field(default=0, ge=0)
    foreground: bool | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in LOSS_TERMS:
            names = LOSS_TERMS.names
            raise ValueError(f"one of {', '.join(names)}; {nearest(kind, names)}".rstrip("; "))
        return kind


class LossSettings(BaseModel):
    """The loss: a sum of terms. `kind: l1` is short for `terms: [{kind: l1}]`.

    Attributes:
        terms: What is summed; one of them from epoch 0 on.
        foreground: Whether everything outside the foreground mask is shaded in both images, as the
            challenge scores.
        foreground_from_epoch: First epoch of that.
        shade: What is left of the images there: 0 is nothing, 1 everything.
        area: Whether each slice's loss is weighted by the square root of its share of anatomy,
            against the volume's slice with most of it.
        area_from_epoch: First epoch of that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    terms: tuple[TermSettings, ...] = Field(default=(TermSettings(kind="ssim"),), min_length=1)
    foreground: bool = True
    foreground_from_epoch: int = Field(default=0, ge=0)
    shade: float = Field(default=0.0, ge=0, le=1)
    area: bool = False
    area_from_epoch: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "kind" not in values:
            return values
        if "terms" in values:
            raise ValueError("kind, which is short for one term, or terms, but not both")
        rest = {key: value for key, value in values.items() if key != "kind"}
        return {"terms": ({"kind": values["kind"]},), **rest}

    @field_validator("terms")
    @classmethod
    def _begins(cls, terms: tuple[TermSettings, ...]) -> tuple[TermSettings, ...]:
        if all(term.from_epoch for term in terms):
            raise ValueError("a term from epoch 0 on, or there is nothing to learn by")
        return terms

    @property
    def settled(self) -> int:
        """The epoch from which on everything counts."""
        own = (term.from_epoch for term in self.terms)
        return max(self.foreground_from_epoch, self.area_from_epoch, *own)


def loss(
    settings: LossSettings,
    epoch: int,
    image_BHW: Tensor,
    target_BHW: Tensor,
    foreground_BHW: Tensor,
    range_B: Tensor,
    area_B: Tensor | None = None,
) -> Tensor:
    """The loss of each item, in float32 or better.

    Args:
        settings: Which one.
        epoch: From 0; nothing else decides what counts already.
        image_BHW: The network's image, in the data's units.
        target_BHW: The reference.
        foreground_BHW: 1 inside the anatomy, 0 outside.
        range_B: Data range of each item's volume, positive.
        area_B: Weight of each item by its anatomy, where the settings ask for it.

    Returns:
        (B,).

    Raises:
        SettingsError: Images too small for a term.
        ValueError: Weights are asked for and not given.
    """
    pairs = {False: (image_BHW, target_BHW)}
    total_B = torch.zeros_like(range_B)
    for term in settings.terms:
        if epoch < term.from_epoch:
            continue
        inside = settings.foreground if term.foreground is None else term.foreground
        inside = inside and epoch >= settings.foreground_from_epoch
        if inside not in pairs:
            pairs[inside] = _shaded(image_BHW, target_BHW, foreground_BHW, settings.shade)
        compared_B = LOSS_TERMS[term.kind].compare(*pairs[inside], range_B)
        total_B = total_B + term.weight * compared_B
    if not settings.area or epoch < settings.area_from_epoch:
        return total_B
    if area_B is None:
        raise ValueError("the loss is weighted by area, and the samples were not asked for it")
    return total_B * area_B


def _shaded(
    image_BHW: Tensor, target_BHW: Tensor, foreground_BHW: Tensor, shade: float
) -> tuple[Tensor, Tensor]:
    kept_BHW = foreground_BHW
    if shade:
        kept_BHW = torch.where(foreground_BHW == 0, shade, foreground_BHW)
    return image_BHW * kept_BHW, target_BHW * kept_BHW
