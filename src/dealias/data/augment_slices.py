"""Slices augmented: coil images moved, and all that follows from them made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.data.augment import AugmentSettings
from dealias.errors import DataError
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.warp import Transform
from dealias.scan.hybrid import Hybrid, power_of_two, to_hybrid
from dealias.scan.scan import Scan

AGREEMENT = 1e-2
"""A stored target further from the root-sum-of-squares of k-space, in shares of its maximum, was
made by another rule, by which an augmented one cannot be made."""


class Augmented(NamedTuple):
    """What augmentation makes of some adjacent slices.

    The data range that belongs to the new target is the volume's times `gain`. It stands for the
    maximum of a volume that is moved as this slice is, without moving every slice of it: where
    pixels change places inside the field of view it is the volume's to the last bit, for the slice
    that holds the maximum it is the new maximum, and what interpolation takes from one slice's
    maximum it takes from the others'.

    Attributes:
        kspace_SCHW: complex64.
        target_HW: float32, of the centre slice.
        before_HW: What the target was, made by the same rule.
    """

    kspace_SCHW: Tensor
    target_HW: Tensor
    before_HW: Tensor

    @property
    def gain(self) -> float:
        """Maximum of the target after over before; 1 for a blank slice."""
        before = float(self.before_HW.max())
        return float(self.target_HW.max()) / before if before else 1.0


def augmented(
    kspace_SCHW: Tensor, transform: Transform, settings: AugmentSettings, target_hw: tuple[int, int]
) -> Augmented:
    """Move the coil images of adjacent slices, all in the same way.

    Args:
        kspace_SCHW: Fully sampled, complex64, centred.
        transform: What happens.
        settings: Interpolation and edges.
        target_hw: The target's grid.
    """
    before_SCHW = ifft(kspace_SCHW)
    after_SCHW = transform(before_SCHW, settings.interpolation, settings.edges)
    targets = (target_of(images_SCHW, target_hw) for images_SCHW in (after_SCHW, before_SCHW))
    # what did not move keeps its bits
    return Augmented(kspace_SCHW if after_SCHW is before_SCHW else fft(after_SCHW), *targets)


def anatomy_of(scan: Scan) -> str | None:
    """By the data set's own label, or None."""
    return scan.cell.anatomy if scan.cell else None


def target_of(images_SCHW: Tensor, target_hw: tuple[int, int]) -> Tensor:
    """Root-sum-of-squares of the centre slice's coil images on the target's grid, (H, W)."""
    centre_CHW = images_SCHW[images_SCHW.shape[0] // 2]
    return centre_crop_or_pad(rss(centre_CHW, 0), target_hw)


def whole_kspace(scan: Scan, near: list[int]) -> Tensor:
    """k-space of some slices, (S, C, H, W) complex64, of a cached scan as well.

    Rows that a cache does not keep are 0 in the image: what is augmented there must not move rows.
    """
    if scan.cached is None:
        parts = [scan.kspace(z) for z in near]
        return torch.from_numpy(np.concatenate(parts) if len(parts) > 1 else parts[0])
    start, stop = scan.cached.rows
    rows_SCHW, hybrid = scan.cached.hybrid(near, (start, stop))
    scale_S = power_of_two(hybrid.peaks_BSW.amax(-1))
    whole_SCHW = F.pad(rows_SCHW, (0, 0, start, hybrid.encoded - stop))
    return fft(whole_SCHW / scale_S[:, None, None, None], (-2,))


def as_cached(kspace_SCHW: Tensor, rows: tuple[int, int] | None) -> tuple[Tensor, Hybrid | None]:
    """k-space in the form in which a cache hands it over, so that both can share a batch.

    Args:
        kspace_SCHW: complex64.
        rows: [start, stop) that the network sees, or None for scans that are not cached.

    Returns:
        Rows and what belongs to them, or k-space as it is.
    """
    if rows is None:
        return kspace_SCHW, None
    parts = [to_hybrid(kspace_CHW.numpy(), rows) for kspace_CHW in kspace_SCHW]
    rows_SCHW, peaks_SW = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    return rows_SCHW, Hybrid(rows, kspace_SCHW.shape[-2], peaks_SW)


def refuse_masked(scans: Sequence[Scan], settings: AugmentSettings) -> None:
    """Refuse to augment scans that are not fully sampled: what was not measured cannot be made.

    Raises:
        DataError: Something may happen to a scan that is masked already.
    """
    for scan in scans:
        active = settings.mixup is not None or settings.of(anatomy_of(scan)).active
        if active and not scan.full:
            do = "train on fully sampled scans, or set all weights of augment to 0"
            do = f"{do} and augment.mixup=null" if settings.mixup is not None else do
            found, expected = "k-space that is masked already", "fully sampled k-space to augment"
            raise DataError(scan.name, found, expected, do)


def refuse_another_target(scan: Scan, z: int, made_HW: Tensor) -> None:
    """Refuse a stored target that is not the root-sum-of-squares of k-space.

    Args:
        scan: Which.
        z: Slice index.
        made_HW: The target as k-space tells it.

    Raises:
        DataError: The two differ by more than AGREEMENT.
    """
    stored_ZHW = scan.image("target", z)
    if stored_ZHW is None:
        return
    apart = float((torch.from_numpy(stored_ZHW[0]) - made_HW).abs().max())
    if apart > AGREEMENT * float(made_HW.max()):
        found = f"slice {z}: a target up to {apart:.2g} from the root-sum-of-squares of k-space"
        do = "set all weights of augment to 0 and augment.mixup=null: it cannot be made anew"
        raise DataError(scan.name, found, "a target that k-space tells", do)
