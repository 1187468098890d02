"""Training samples: one slice of a fully sampled scan, with its mask, target and weight."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dealias.data.remask import MaskSettings, training_mask
from dealias.errors import DataError
from dealias.metrics.foreground import THRESHOLDS, foreground
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Needs, measure
from dealias.scan.scan import Scan

RELATIVE_THRESHOLD = 0.1
"""Foreground of data without a known anatomy: this share of the data range."""


@dataclass(frozen=True)
class Sample:
    """One slice.

    Attributes:
        kspace_SCHW: complex64, not yet masked: that happens on the device.
        mask: What it will be masked with.
        target_HW: float32, the root-sum-of-squares of the full k-space.
        foreground_HW: float32, 1 inside the anatomy.
        data_range: Maximum of the target over the volume.
        name: Of the scan.
        z: Slice index.
    """

    kspace_SCHW: Tensor
    mask: SamplingMask
    target_HW: Tensor
    foreground_HW: Tensor
    data_range: float
    name: str
    z: int


@dataclass(frozen=True)
class Batch:
    """Samples of one shape: (B, ...) of everything in a sample."""

    kspace_BSCHW: Tensor
    masks: tuple[SamplingMask, ...]
    target_BHW: Tensor
    foreground_BHW: Tensor
    range_B: Tensor
    names: tuple[tuple[str, int], ...]

    def measurement(self, needs: Needs, device: torch.device) -> Measurement:
        """The batch as a network sees it, on the device."""
        target_hw = (self.target_BHW.shape[-2], self.target_BHW.shape[-1])
        kspace_BSCHW = self.kspace_BSCHW.to(device, non_blocking=True)
        return measure(kspace_BSCHW, self.masks, target_hw, needs)


class Samples(Dataset[Sample]):
    """Slices of scans; an item is asked for by (epoch, index), so its draws can be counted.

    Args:
        scans: Fully sampled training scans.
        masks: How they are masked.
        needs: What the network asks for.
        seed: The run's seed.
    """

    def __init__(self, scans: Sequence[Scan], masks: MaskSettings, needs: Needs, seed: int) -> None:
        self.scans, self.masks, self.needs, self.seed = tuple(scans), masks, needs, seed
        self.index = [(s, z) for s, scan in enumerate(self.scans) for z in range(scan.slices)]

    def __len__(self) -> int:
        return len(self.index)

    def keys(self) -> list[Hashable]:
        """Shape of each sample, its mask's axes included: those of one shape may share a batch."""
        stored = self.masks.kind == "stored"
        shapes = [
            (
                scan.shape[1:],
                scan.geometry.target_hw,
                scan.mask.axes if stored and scan.mask else (),
            )
            for scan in self.scans
        ]
        return [shapes[s] for s, _ in self.index]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, index)."""
        epoch, index = key
        s, z = self.index[index]
        scan = self.scans[s]
        mask = training_mask(self.masks, scan, self.seed, epoch, index)
        around = range(z - self.needs.slices // 2, z + self.needs.slices // 2 + 1)
        near = [min(max(i, 0), scan.slices - 1) for i in around]
        kspace_SCHW = torch.from_numpy(np.concatenate([scan.kspace(i) for i in near]))
        target_HW = _target(scan, z)
        data_range = scan.data_range or _volume_maximum(scan)
        threshold = RELATIVE_THRESHOLD * data_range
        if scan.cell is not None and data_range < 1e-1:
            threshold = THRESHOLDS.get(scan.cell.anatomy, threshold)
        inside_HW = torch.from_numpy(foreground(target_HW.numpy(), threshold)).float()
        return Sample(kspace_SCHW, mask, target_HW, inside_HW, data_range, scan.name, z)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one shape."""
    return Batch(
        torch.stack([sample.kspace_SCHW for sample in samples]),
        tuple(sample.mask for sample in samples),
        torch.stack([sample.target_HW for sample in samples]),
        torch.stack([sample.foreground_HW for sample in samples]),
        torch.tensor([sample.data_range for sample in samples], dtype=torch.float32),
        tuple((sample.name, sample.z) for sample in samples),
    )


def _target(scan: Scan, z: int) -> Tensor:
    target_ZHW = scan.target(z)
    if target_ZHW is None:
        do = "train on fully sampled scans"
        raise DataError(scan.name, "masked k-space without a target", "a target", do)
    return torch.from_numpy(target_ZHW[0])


def _volume_maximum(scan: Scan) -> float:
    """Maximum of the targets over the volume, for data sets that do not state it."""
    return max(float(_target(scan, z).max()) for z in range(scan.slices)) or 1.0
