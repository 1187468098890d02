"""One volume on its way into a cache."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dealias.data.keep import Keep
from dealias.data.manifest import Volume, file_of
from dealias.data.samples import foreground_threshold
from dealias.errors import DataError
from dealias.io.cached_facts import Facts, MaskFacts
from dealias.io.open import open_scan
from dealias.io.write_cached import CachedSlice, write_cached
from dealias.metrics.foreground import foreground
from dealias.scan.hybrid import to_hybrid
from dealias.scan.scan import Array, Scan

_ROOM = 512
"""Bytes for the numbers of a header that are not known beforehand, and an entry in the manifest."""


@dataclass(frozen=True)
class Job:
    """A volume to be cached.

    Attributes:
        source: Path of its k-space file below the data set.
        kspace: That file.
        image: Its image file in the SNU layout, or None.
        stamp: Sizes and times of both.
        slices: How many it has.
        rows: [start, stop) of the readout to keep.
        bytes: What it will measure in the cache, at most.
        whole: What k-space measures.
    """

    source: str
    kspace: Path
    image: Path | None
    stamp: tuple[int, ...]
    slices: int
    rows: tuple[int, int]
    bytes: int
    whole: int


def plan_volume(source: str, kspace: Path, image: Path | None, keep: Keep) -> Job:
    """Look at a volume, without reading its k-space through.

    Raises:
        DataError: It is refused as data, or its mask is 2-D.
        SettingsError: Fewer rows than the target has.
    """
    scan = open_scan(kspace, image)
    if scan.mask is not None and scan.mask.axes != (-1,):
        found, expected = "a 2-D mask", "masks of phase-encode lines, which leave rows independent"
        raise DataError(kspace, found, expected, "train from the files, without a cache")
    rows = keep.window(scan.name, scan.shape[2], scan.geometry.target_hw[0])
    # only the size counts: numbers that are not known yet are short ones, and have room to grow
    sized = _facts(scan, rows, "0" * 16, 0.0 if _has_target(scan) else None, 0.0)
    size = sized.bytes() + _ROOM
    whole = 8 * math.prod(scan.shape)
    return Job(source, kspace, image, _stamp(kspace, image), scan.slices, rows, size, whole)


def make_volume(job: Job, root: Path, advance: Callable[[int], None]) -> Volume:
    """Write one volume of a cache.

    Args:
        job: Which.
        root: The cache.
        advance: Called with 1 after each slice.

    Returns:
        Its entry in the manifest.

    Raises:
        DataError: The files changed, cannot be read, or hold NaN or infinity.
        DiskError: The disk is full or may not be written.
    """
    scan = open_scan(job.kspace, job.image)
    target_ZHW = _targets(scan)
    maximum = None if target_ZHW is None else float(target_ZHW.max())
    if maximum is not None and not math.isfinite(maximum):
        _refuse_numbers(job.kspace, "the target")
    threshold = foreground_threshold(scan.cell, scan.data_range or maximum or 1.0)
    inside_ZHW = None
    if target_ZHW is not None:
        inside_ZHW = np.stack([foreground(target_HW, threshold) for target_HW in target_ZHW])
    facts = _facts(scan, job.rows, scan.id, maximum, threshold)
    slices = _slices(scan, job, advance)
    digest = write_cached(root / file_of(job.source), facts, slices, target_ZHW, inside_ZHW)
    return Volume(
        source=job.source,
        stamp=job.stamp,
        id=scan.id,
        header=facts.digest(),
        bytes=facts.bytes(),
        sha256=digest,
    )


def _slices(scan: Scan, job: Job, advance: Callable[[int], None]) -> Iterator[CachedSlice]:
    for z in range(scan.slices):
        kspace_CHW = np.ascontiguousarray(scan.kspace(z)[0])
        largest = float(np.abs(kspace_CHW).max())
        if not math.isfinite(largest):
            _refuse_numbers(job.kspace, f"slice {z}")
        yield CachedSlice(*to_hybrid(kspace_CHW, job.rows), largest)
        advance(1)


def _refuse_numbers(path: Path, part: str) -> None:
    do = "leave the volume out; dealias check tells more"
    raise DataError(f"{path}, {part}", "NaN or infinity", "finite numbers", do)


def _targets(scan: Scan) -> Array | None:
    if not _has_target(scan):
        return None
    # slice by slice, as training asks for them
    return np.concatenate([scan.target(z) for z in range(scan.slices)])


def _has_target(scan: Scan) -> bool:
    return scan.full or scan.image("target", 0) is not None


def _facts(
    scan: Scan, rows: tuple[int, int], identity: str, maximum: float | None, threshold: float
) -> Facts:
    return Facts(
        name=scan.name,
        id=identity,
        shape=scan.shape,
        rows=rows,
        full=scan.full,
        mask=MaskFacts.of(scan.mask) if scan.mask is not None else None,
        target_hw=scan.geometry.target_hw,
        spacing_mm=scan.geometry.spacing_mm,
        padding=scan.geometry.padding,
        cell=scan.cell,
        data_range=scan.data_range,
        maximum=maximum,
        threshold=threshold,
        boxes=scan.boxes,
    )


def _stamp(*paths: Path | None) -> tuple[int, ...]:
    stats = [os.stat(path) for path in paths if path is not None]  # noqa: PTH116
    return tuple(number for one in stats for number in (one.st_size, one.st_mtime_ns))
