"""Training samples: one slice of a fully sampled scan, with its mask, target and weight."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dealias.data.area import area_weight
from dealias.data.augment import UNAUGMENTED, AugmentSettings, drawn
from dealias.data.augment_slices import (
    anatomy_of,
    as_cached,
    augmented,
    refuse_another_target,
    refuse_masked,
    target_of,
    whole_kspace,
)
from dealias.data.mixup import Mixup, Partner
from dealias.data.narrow import refuse_cache
from dealias.data.remask import MaskSettings, mask_axes, refuse_mixture, training_mask
from dealias.data.strength import Strengths
from dealias.errors import DataError
from dealias.metrics.foreground import THRESHOLDS, foreground
from dealias.physics.fourier import ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.warp import UNMOVED, Transform
from dealias.randomness import generator
from dealias.scan.hybrid import Hybrid
from dealias.scan.maps import espirit_maps
from dealias.scan.measurement import Measurement, Needs, measure
from dealias.scan.scan import Array, Cell, Scan

RELATIVE_THRESHOLD = 0.1
"""Foreground of data without a known anatomy: this share of the data range."""


@dataclass(frozen=True)
class Sample:
    """One slice.

    Attributes:
        kspace_SCHW: complex64, not yet masked: that happens on the device. Of a cached scan, the
            rows that the network sees.
        mask: What it will be masked with.
        target_HW: float32, the root-sum-of-squares of the full k-space.
        foreground_HW: float32, 1 inside the anatomy.
        data_range: Maximum of the target over the volume.
        name: Of the scan.
        z: Slice index.
        hybrid: What belongs to the rows of a cached scan.
        stored: Images of the data's own for the network's priors, (H, W) by name.
        sens_SCHW: ESPIRiT maps, (S, M, C, H, W) for M sets, if the network needs them. They are
            made here, by the loader's workers, as they take seconds.
        area_weight: How much the slice counts by its anatomy, where the loss asks for it.
        anatomy: By the scan's label, or None.
    """

    kspace_SCHW: Tensor
    mask: SamplingMask
    target_HW: Tensor
    foreground_HW: Tensor
    data_range: float
    name: str
    z: int
    hybrid: Hybrid | None = None
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    sens_SCHW: Tensor | None = None
    area_weight: float | None = None
    anatomy: str | None = None


@dataclass(frozen=True)
class Batch:
    """Samples of one shape: (B, ...) of everything in a sample."""

    kspace_BSCHW: Tensor
    masks: tuple[SamplingMask, ...]
    target_BHW: Tensor
    foreground_BHW: Tensor
    range_B: Tensor
    names: tuple[tuple[str, int], ...]
    hybrid: Hybrid | None = None
    stored: tuple[Mapping[str, Tensor], ...] = ()
    sens_BSCHW: Tensor | None = None
    route: str | None = None
    area_B: Tensor | None = None
    anatomies: tuple[str | None, ...] = ()

    def pin_memory(self) -> Batch:
        """In page-locked memory, from where copies to a GPU overlap with its work.

        The loader calls this; k-space is all that is worth it.
        """
        return replace(self, kspace_BSCHW=self.kspace_BSCHW.pin_memory())

    def measurement(self, needs: Needs, device: torch.device) -> Measurement:
        """The batch as a network sees it, on the device."""
        target_hw = (self.target_BHW.shape[-2], self.target_BHW.shape[-1])
        kspace_BSCHW = self.kspace_BSCHW.to(device, non_blocking=True)
        hybrid = self.hybrid
        if hybrid is not None:
            peaks_BSW = hybrid.peaks_BSW.to(device, non_blocking=True)
            hybrid = replace(hybrid, peaks_BSW=peaks_BSW)
        sens_BSCHW = self.sens_BSCHW
        if sens_BSCHW is not None:
            sens_BSCHW = sens_BSCHW.to(device, non_blocking=True)
        found = measure(kspace_BSCHW, self.masks, target_hw, needs, sens_BSCHW, hybrid, self.stored)
        return replace(found, route=self.route)


class Key(NamedTuple):
    """Which sample: its place in the run, and how strongly its epoch varies samples."""

    epoch: int
    place: int
    strengths: Strengths = Strengths()


class Samples(Dataset[Sample]):
    """Slices of scans; an item is asked for by (epoch, index), so its draws can be counted.

    Args:
        scans: Fully sampled training scans.
        masks: How they are masked.
        needs: What the network asks for.
        seed: The run's seed.
        area: Whether samples are told how much they count by their anatomy.
        augment: How images are augmented.

    Raises:
        DataError: The scans are cached and the cache does not serve the network or augmentation, or
            they are masked and cannot be augmented.
        SettingsError: The mixture of masks has none for the width of some scan.
    """

    def __init__(
        self, scans: Sequence[Scan], masks: MaskSettings, needs: Needs, seed: int,
        area: bool = False, augment: AugmentSettings = UNAUGMENTED,
    ) -> None:  # fmt: skip
        self.scans, self.masks, self.needs, self.seed = tuple(scans), masks, needs, seed
        self.augment = augment
        refuse_cache(self.scans, needs, masks, augment)
        refuse_masked(self.scans, augment)
        refuse_mixture(masks, self.scans)
        self._mixup = Mixup(augment.mixup, self.scans, seed)
        slices = [(s, z) for s, scan in enumerate(self.scans) for z in range(scan.slices)]
        self.index = [place for place in slices for _ in range(masks.copies)]
        # of each scan once: workers, which are new ones each epoch, share what they find
        self._largest = _shared(len(self.scans)) if area else None

    def __len__(self) -> int:
        return len(self.index)

    def keys(self) -> list[Hashable]:
        """Shape of each sample, its mask's axes included: those of one shape may share a batch."""
        shapes = [
            (scan.shape[1:], scan.geometry.target_hw, mask_axes(self.masks, scan))
            for scan in self.scans
        ]
        return [shapes[s] for s, _ in self.index]

    def sizes(self) -> list[int]:
        """Elements of each sample's k-space as the network sees it."""
        sizes = []
        for scan in self.scans:
            start, stop = self.needs.rows(scan.shape[-2], scan.geometry.target_hw[0])
            sizes.append(self.needs.coils(scan.shape[1]) * (stop - start) * scan.shape[-1])
        return [sizes[s] for s, _ in self.index]

    def __getitem__(self, key: tuple[int, int] | tuple[int, int, Strengths]) -> Sample:
        """The sample of (epoch, index, strengths); both are 1 where they are not said."""
        epoch, index, strengths = Key(*key)
        s, z = self.index[index]
        scan = self.scans[s]
        mask = training_mask(self.masks, scan, self.seed, epoch, index, strengths.masks)
        transform = self._transform(scan, epoch, index, strengths.augment)
        partner = self._mixup.drawn((s, z), epoch, index, strengths.augment)
        made = transform != UNMOVED or partner is not None
        kspace_SCHW, hybrid, target_HW, gain = self._read(scan, z, transform, partner)
        data_range = self._range(scan, partner) * gain
        inside_HW = torch.from_numpy(_inside(scan, z, target_HW, data_range, made)).float()
        area = self._area_weight(s, inside_HW, partner)
        # images that came with the scan show what it was before: they are made anew of k-space
        stored = {} if made else scan.stored(self.needs, mask, z)
        return Sample(
            kspace_SCHW, mask, target_HW, inside_HW, data_range, scan.name, z, hybrid, stored,
            self._maps(kspace_SCHW, mask, scan.name), area, anatomy_of(scan),
        )  # fmt: skip

    def _transform(self, scan: Scan, epoch: int, index: int, strength: float) -> Transform:
        settings = self.augment.of(anatomy_of(scan))
        if not settings.active:
            return UNMOVED
        rng = generator(self.seed, "augment", epoch, index)
        return drawn(settings, strength, scan.geometry.encoded_hw, scan.geometry.target_hw, rng)

    def _read(
        self, scan: Scan, z: int, transform: Transform, partner: Partner | None
    ) -> tuple[Tensor, Hybrid | None, Tensor, float]:
        """k-space, what belongs to a cache's rows, the target, and what the data range grows by."""
        near = self._near(scan, z)
        if transform == UNMOVED and partner is None:
            return *_measured(scan, near, self.needs), _target(scan, z), 1.0
        target_hw = scan.geometry.target_hw
        whole_SCHW = whole_kspace(scan, near)
        if partner is not None:
            refuse_another_target(scan, z, target_of(ifft(whole_SCHW), target_hw))
            other = self.scans[partner.scan]
            around = self._near(other, partner.z)
            whole_SCHW = partner.mixed(whole_SCHW, whole_kspace(other, around))
        made = augmented(whole_SCHW, transform, self.augment, target_hw)
        if partner is None:
            refuse_another_target(scan, z, made.before_HW)
        rows = None if scan.cached is None else self.needs.rows(scan.shape[2], target_hw[0])
        return *as_cached(made.kspace_SCHW, rows), made.target_HW, made.gain

    def _maps(self, kspace_SCHW: Tensor, mask: SamplingMask, name: str) -> Tensor | None:
        needs = self.needs
        if needs.maps == "none":
            return None
        return espirit_maps(kspace_SCHW[None], [mask], name, needs.crop, needs.sets)[0]

    def _range(self, scan: Scan, partner: Partner | None) -> float:
        own = scan.data_range or _volume_maximum(scan)
        if partner is None:
            return own
        other = self.scans[partner.scan]
        return partner.between(own, other.data_range or _volume_maximum(other))

    def _area_weight(self, s: int, inside_HW: Tensor, partner: Partner | None) -> float | None:
        if self._largest is None:
            return None
        largest = self._largest_of(s, self._largest)
        if partner is not None:
            other = self._largest_of(partner.scan, self._largest)
            largest = round(partner.between(largest, other))
        return area_weight(inside_HW.numpy(), largest)

    def _largest_of(self, s: int, known: Tensor) -> int:
        if known[s] < 0:
            known[s] = _largest_area(self.scans[s])
        return int(known[s])

    def _near(self, scan: Scan, z: int) -> list[int]:
        """The adjacent slices that the network sees with a slice, and itself."""
        reach = self.needs.slices // 2
        return [min(max(i, 0), scan.slices - 1) for i in range(z - reach, z + reach + 1)]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one shape; a single one is not copied."""
    hybrid = samples[0].hybrid
    if hybrid is not None:
        peaks = [sample.hybrid.peaks_BSW for sample in samples if sample.hybrid is not None]
        hybrid = replace(hybrid, peaks_BSW=torch.stack(peaks))
    kspaces = [sample.kspace_SCHW for sample in samples]
    maps = [sample.sens_SCHW for sample in samples]
    areas = [sample.area_weight for sample in samples if sample.area_weight is not None]
    return Batch(
        torch.stack(kspaces) if len(kspaces) > 1 else kspaces[0][None],
        tuple(sample.mask for sample in samples),
        torch.stack([sample.target_HW for sample in samples]),
        torch.stack([sample.foreground_HW for sample in samples]),
        torch.tensor([sample.data_range for sample in samples], dtype=torch.float32),
        tuple((sample.name, sample.z) for sample in samples),
        hybrid,
        tuple(sample.stored for sample in samples),
        torch.stack(sens) if (sens := [one for one in maps if one is not None]) else None,
        area_B=torch.tensor(areas, dtype=torch.float32) if areas else None,
        anatomies=tuple(sample.anatomy for sample in samples),
    )


def foreground_threshold(cell: Cell | None, data_range: float) -> float:
    """What the target must exceed to be anatomy: the challenge's, or a share of the range."""
    threshold = RELATIVE_THRESHOLD * data_range
    if cell is not None and data_range < 1e-1:
        threshold = THRESHOLDS.get(cell.anatomy, threshold)
    return threshold


def _measured(scan: Scan, near: list[int], needs: Needs) -> tuple[Tensor, Hybrid | None]:
    if scan.cached is not None:
        rows = needs.rows(scan.shape[2], scan.geometry.target_hw[0])
        return scan.cached.hybrid(near, rows)
    return whole_kspace(scan, near), None


def _inside(scan: Scan, z: int, target_HW: Tensor, data_range: float, moved: bool = False) -> Array:
    threshold = foreground_threshold(scan.cell, data_range)
    known_HW = None
    if scan.cached is not None and not moved:
        known_HW = scan.cached.foreground(z, threshold)
    return foreground(target_HW.numpy(), threshold) if known_HW is None else known_HW


def _shared(count: int) -> Tensor:
    """Numbers that are not known yet, in memory that worker processes share."""
    return torch.full((count,), -1).share_memory_()  # type: ignore[no-untyped-call]


def _largest_area(scan: Scan) -> int:
    """Foreground pixels of the slice that has most of them."""
    data_range = scan.data_range or _volume_maximum(scan)
    inside = (_inside(scan, z, _target(scan, z), data_range) for z in range(scan.slices))
    return max(int(one.sum()) for one in inside)


def _target(scan: Scan, z: int) -> Tensor:
    target_ZHW = scan.target(z)
    if target_ZHW is None:
        do = "train on fully sampled scans"
        raise DataError(scan.name, "masked k-space without a target", "a target", do)
    return torch.from_numpy(target_ZHW[0])


def _volume_maximum(scan: Scan) -> float:
    """Maximum of the targets over the volume, for data sets that do not state it."""
    if scan.cached is not None and scan.cached.maximum is not None:
        return scan.cached.maximum or 1.0
    return max(float(_target(scan, z).max()) for z in range(scan.slices)) or 1.0
