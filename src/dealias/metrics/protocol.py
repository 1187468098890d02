"""Scoring protocols by name: range, region, window and aggregation travel with every number."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dealias.errors import DataError
from dealias.metrics.foreground import THRESHOLDS, foreground
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.metrics.similarity import WINDOW, nmse, psnr, ssim_map
from dealias.scan.scan import Box, Scan
from dealias.table import Table

Images = npt.NDArray[np.float32]
Region = Literal["zeroed background", "inside foreground", "boxes", "whole image"]
_PLAUSIBLE = (1e-5, 1e-1)
"""Largest target values to which the challenge's absolute thresholds can apply."""


@dataclass(frozen=True)
class ScoringProtocol:
    """How an image is scored.

    Attributes:
        name: Its name; scores of different names refuse to be compared.
        range: Where SSIM's data range comes from.
        region: What is scored: the image with its background set to zero in both (the challenge),
            the map inside the foreground alone, lesion boxes, or the whole image.
        aggregation: How slices become a total.
        threshold: A foreground threshold instead of the challenge's, or None.
        anatomies: Anatomies the protocol knows.
    """

    name: str
    range: Literal["attribute max", "volume max"]
    region: Region
    aggregation: Literal["mean of accelerations", "mean of slices", "mean of volumes"]
    threshold: float | None = None
    anatomies: tuple[str, ...] = ("brain", "knee")

    @property
    def spec(self) -> str:
        """Everything a number depends on, in one line."""
        region = self.region if self.threshold is None else f"{self.region}>{self.threshold:g}"
        return (
            f"ssim:win{WINDOW},uniform,K.01/.03,range={self.range},region={region},"
            f"agg={self.aggregation}"
        )

    def with_threshold(self, threshold: float) -> ScoringProtocol:
        """The protocol with a foreground threshold of one's own; its name says so."""
        name = f"{self.name.split('@')[0]}@{threshold:g}"
        return dataclasses.replace(self, name=name, threshold=threshold)

    def score(self, recon_ZHW: Images, scan: Scan) -> VolumeScores:
        """Score a reconstruction.

        Args:
            recon_ZHW: (Z, H, W) float32 in the data's units, on the target's grid.
            scan: The scan, with its target.

        Returns:
            Scores of all slices.

        Raises:
            DataError: No target; another shape; NaN; unknown anatomy; a scale that the protocol's
                thresholds do not fit.
        """
        target_ZHW = self._target(recon_ZHW, scan)
        span = self._range(target_ZHW, scan)
        threshold = self._threshold(target_ZHW, scan)
        slices = tuple(
            self._slice(z, recon_ZHW[z], target_ZHW[z], span, threshold, scan.boxes)
            for z in range(scan.slices)
        )
        return VolumeScores(scan.name, scan.cell, self.name, slices)

    def _target(self, recon_ZHW: Images, scan: Scan) -> Images:
        target_ZHW = scan.image("target", slice(None))
        if target_ZHW is None:
            do = "score against data with image_label or reconstruction_rss"
            raise DataError(scan.name, "no target image", "a target to score against", do)
        if recon_ZHW.shape != target_ZHW.shape:
            found = f"a reconstruction of shape {recon_ZHW.shape}"
            raise DataError(scan.name, found, f"{target_ZHW.shape}", "reconstruct this data again")
        for z, image in enumerate(recon_ZHW):
            if not np.isfinite(image).all():
                do = "run `dealias check` on its k-space"
                raise DataError(f"{scan.name} slice {z}", "NaN or infinity", "numbers", do)
        return target_ZHW

    def _range(self, target_ZHW: Images, scan: Scan) -> float:
        if self.range == "attribute max":
            if scan.data_range is None or not 0 < scan.data_range < math.inf:
                found = f"attribute max {scan.data_range}"
                do = f"score with a protocol that takes the volume's own maximum, not {self.name}"
                raise DataError(scan.name, found, "the target's maximum", do)
            return scan.data_range
        return float(target_ZHW.max()) or 1.0

    def _threshold(self, target_ZHW: Images, scan: Scan) -> float:
        if self.region in ("whole image", "boxes"):
            return 0.0
        if self.threshold is not None:
            return self.threshold
        if scan.cell is None or scan.cell.anatomy not in self.anatomies:
            found = f"anatomy {scan.cell.anatomy}" if scan.cell else "no anatomy"
            raise DataError(scan.name, found, " or ".join(self.anatomies), "give --anatomy")
        top = float(target_ZHW.max())
        if top > 0 and not _PLAUSIBLE[0] <= top <= _PLAUSIBLE[1]:
            expected = f"{_PLAUSIBLE[0]:g} to {_PLAUSIBLE[1]:g}, the challenge's scale"
            do = "give --foreground-threshold in this data's units"
            raise DataError(scan.name, f"target maximum {top:.3g}", expected, do)
        return THRESHOLDS[scan.cell.anatomy]

    def _slice(
        self, z: int, recon: Images, target: Images, span: float, threshold: float, boxes: object
    ) -> SliceScores:
        x, y = (torch.from_numpy(np.array(image, dtype=np.float64)) for image in (recon, target))
        inside: Tensor | None = None
        if self.region in ("zeroed background", "inside foreground"):
            inside = torch.from_numpy(foreground(target, threshold))
        if self.region == "zeroed background" and inside is not None:
            x, y = x * inside, y * inside
        if self.region == "boxes":
            ssim = _boxes(x, y, span, [b for b in _as_boxes(boxes) if b.slice == z])
        else:
            ssim = _region_mean(ssim_map(x, y, span), inside, self.region)
        return SliceScores(z, ssim, _finite(psnr(x, y, span)), _finite(nmse(x, y)))


def _as_boxes(boxes: object) -> tuple[Box, ...]:
    return boxes if isinstance(boxes, tuple) else ()


def _region_mean(ssim: Tensor, inside: Tensor | None, region: Region) -> float | None:
    if region != "inside foreground" or inside is None:
        return float(ssim.mean())
    pad = WINDOW // 2
    trimmed = inside[pad:-pad, pad:-pad]
    return float(ssim[trimmed].mean()) if bool(trimmed.any()) else None


def _boxes(x: Tensor, y: Tensor, span: float, boxes: list[Box]) -> float | None:
    values = []
    for box in boxes:
        rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
        if min(x[rows, columns].shape) >= WINDOW:
            values.append(float(ssim_map(x[rows, columns], y[rows, columns], span).mean()))
    return sum(values) / len(values) if values else None


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


PROTOCOLS = Table(
    "protocol",
    (
        ScoringProtocol(
            "snu2021", "attribute max", "zeroed background", "mean of slices", anatomies=("brain",)
        ),
        ScoringProtocol("snu2025", "attribute max", "zeroed background", "mean of accelerations"),
        ScoringProtocol(
            "snu2026", "attribute max", "inside foreground", "mean of slices", anatomies=("knee",)
        ),
        ScoringProtocol("snu2026-boxes", "attribute max", "boxes", "mean of slices"),
        ScoringProtocol("fastmri", "volume max", "whole image", "mean of volumes"),
    ),
)
