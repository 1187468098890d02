"""Scoring protocols by name: range, region, window and aggregation travel with every number."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.metrics import regions, suitable
from dealias.metrics.foreground import foreground
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.metrics.similarity import K1, K2, WINDOW, nmse, psnr
from dealias.scan.scan import Scan
from dealias.table import Table

Images = npt.NDArray[Any]
Aggregation = Literal["mean of accelerations", "mean of slices", "mean of volumes"]
_AT = "@"


@dataclass(frozen=True)
class ScoringProtocol:
    """How an image is scored.

    Attributes:
        name: Its name; scores of different names refuse to be compared.
        range: Where SSIM's data range comes from: the attribute `max` or the target volume itself.
        region: "whole image"; "zeroed background" (the challenge: both images are zeroed outside
            the foreground and the whole map counts); "inside foreground" (zeroed likewise, and only
            the map inside the foreground counts); "boxes" (lesion boxes of the images as they are).
        aggregation: How slices become a total: the mean over accelerations of the mean over pooled
            slices of all anatomies; the mean over all slices; the mean over volumes.
        square: Whether images are cropped to W rows first, as fastMRI's evaluation does.
        threshold: A foreground threshold instead of the challenge's, or None.
        anatomies: Anatomies that its thresholds know.
    """

    name: str
    range: Literal["attribute max", "volume max"]
    region: regions.Region
    aggregation: Aggregation
    square: bool = False
    threshold: float | None = None
    anatomies: tuple[str, ...] = ("brain", "knee")

    @property
    def spec(self) -> str:
        """Everything a number depends on, in one line."""
        region = self.region if self.threshold is None else f"{self.region}>{self.threshold:g}"
        crop = "W rows" if self.square else "none"
        return (
            f"ssim:win{WINDOW},uniform,K{K1:g}/{K2:g},range={self.range},crop={crop},"
            f"region={region},agg={self.aggregation},psnr+nmse=whole volume"
        )

    @property
    def uses_foreground(self) -> bool:
        """Whether a foreground plays a part, and so a threshold."""
        return self.region in regions.USES_FOREGROUND

    def with_threshold(self, threshold: float) -> ScoringProtocol:
        """The protocol with a foreground threshold of one's own; its name says so.

        Raises:
            SettingsError: The threshold is no positive number, or no foreground is used.
        """
        if not self.uses_foreground:
            do = "leave --foreground-threshold out"
            raise SettingsError(self.name, "a foreground threshold", "none, it has no mask", do)
        if not 0 < threshold < math.inf:
            raise SettingsError("--foreground-threshold", f"{threshold:g}", "a positive number")
        name = f"{self.name.split(_AT)[0]}{_AT}{threshold:g}"
        # what the name says is what is used
        return dataclasses.replace(self, name=name, threshold=float(f"{threshold:g}"))

    def score(self, recon_ZHW: Images, scan: Scan) -> VolumeScores:
        """Score a reconstruction, in float64.

        Args:
            recon_ZHW: (Z, H, W) float32 in the data's units, on the target's grid.
            scan: The scan, with its target.

        Returns:
            Scores of all slices.

        Raises:
            DataError: No target; another shape; NaN; unknown anatomy; no range; a scale that the
                protocol's thresholds do not fit.
        """
        target_ZHW = suitable.checked_target(recon_ZHW, scan)
        span = self._span(target_ZHW, scan)
        inside_ZHW = self._foreground(target_ZHW, scan)
        x_ZHW, y_ZHW = self._prepared(recon_ZHW, inside_ZHW), self._prepared(target_ZHW, inside_ZHW)
        slices = tuple(
            self._slice(z, x, y, span, inside_ZHW, scan)
            for z, (x, y) in enumerate(zip(x_ZHW, y_ZHW, strict=True))
        )
        x, y = x_ZHW.flatten(0, 1), y_ZHW.flatten(0, 1)
        whole = _finite(psnr(x, y, span)), _finite(nmse(x, y))
        return VolumeScores(scan.name, scan.cell, self.name, slices, *whole)

    def _span(self, target_ZHW: Images, scan: Scan) -> float:
        if self.range == "attribute max":
            return suitable.attribute_range(target_ZHW, scan, self.name)
        return max(0.0, float(self._cropped(target_ZHW).max()))

    def _foreground(self, target_ZHW: Images, scan: Scan) -> npt.NDArray[np.bool_] | None:
        if not self.uses_foreground:
            return None
        threshold = self.threshold
        if threshold is None:
            threshold = suitable.challenge_threshold(target_ZHW, scan, self.anatomies)
        inside_ZHW = np.stack([foreground(image, threshold) for image in target_ZHW])
        suitable.refuse_odd_foreground(target_ZHW, inside_ZHW, scan, threshold)
        return inside_ZHW

    def _cropped(self, images_ZHW: Images) -> Images:
        h, w = images_ZHW.shape[1:]
        if not self.square or h <= w:
            return images_ZHW
        top = (h - w) // 2
        return images_ZHW[:, top : top + w]

    def _prepared(self, images_ZHW: Images, inside_ZHW: npt.NDArray[np.bool_] | None) -> Tensor:
        images = self._cropped(images_ZHW).astype(np.float64)
        return torch.from_numpy(images if inside_ZHW is None else images * inside_ZHW)

    def _slice(
        self,
        z: int,
        x: Tensor,
        y: Tensor,
        span: float,
        inside_ZHW: npt.NDArray[np.bool_] | None,
        scan: Scan,
    ) -> SliceScores:
        if self.region == "boxes":
            boxes = [box for box in scan.boxes if box.slice == z]
            found = regions.in_boxes(x, y, span, boxes)
        elif self.region == "inside foreground" and inside_ZHW is not None:
            found = regions.inside(x, y, span, torch.from_numpy(inside_ZHW[z]))
        else:
            found = regions.whole(x, y, span)
        return SliceScores(
            z, found.ssim, _finite(psnr(x, y, span)), _finite(nmse(x, y)), found.regions
        )


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
            "snu2026",
            "attribute max",
            "inside foreground",
            "mean of accelerations",
            anatomies=("knee",),
        ),
        ScoringProtocol("snu2026-boxes", "attribute max", "boxes", "mean of accelerations"),
        ScoringProtocol("fastmri", "volume max", "whole image", "mean of volumes", square=True),
    ),
)


def protocol_named(name: str) -> ScoringProtocol:
    """The protocol of a name, also with a threshold as in "snu2025@3e-05".

    Raises:
        SettingsError: No such protocol, or no threshold behind the @.
    """
    plain, at, number = name.partition(_AT)
    if not at:
        return PROTOCOLS[plain]
    try:
        threshold = float(number)
    except ValueError:
        expected = f"a number behind {_AT}, such as snu2025@3e-05"
        raise SettingsError(f"protocol '{name}'", f"'{number}'", expected) from None
    return PROTOCOLS[plain].with_threshold(threshold)
