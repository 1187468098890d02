"""A scan: one volume of multi-coil k-space and what is known of it, read only when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dealias.errors import DataError
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.hybrid import CachedSource
from dealias.scan.measurement import Needs

ImageKind = Literal["target", "input", "grappa"]
Array = npt.NDArray[Any]


class Cell(NamedTuple):
    """Where a scan's score is counted: anatomy x nominal acceleration."""

    anatomy: str
    acceleration: int

    def __str__(self) -> str:
        return f"{self.anatomy}-x{self.acceleration}"


class Box(NamedTuple):
    """A lesion box on one slice, in pixels of the target grid; x runs along W, y along H."""

    slice: int
    x: int
    y: int
    width: int
    height: int
    label: str


@dataclass(frozen=True)
class Geometry:
    """Grids of a scan.

    Attributes:
        encoded_hw: (H, W) of k-space: readout, phase encode.
        target_hw: (H, W) of the image that is scored.
        spacing_mm: (slice, H, W) in millimetres, or None where unknown.
        padding: (left, right): [left, right) are the phase-encode columns the scanner acquired;
            columns outside were zero-padded. None where unknown.
    """

    encoded_hw: tuple[int, int]
    target_hw: tuple[int, int]
    spacing_mm: tuple[float, float, float] | None = None
    padding: tuple[int, int] | None = None


class Source(Protocol):
    """What a file format provides; picklable, and opened anew in each process."""

    def kspace(self, z: slice) -> Array:
        """k-space of slices z, (Z, C, H, W) complex64."""
        ...

    def image(self, kind: ImageKind, z: slice) -> Array | None:
        """Stored images of slices z, (Z, H, W) float32, or None where there are none."""
        ...


@dataclass(frozen=True)
class Scan:
    """One volume; frozen and lazy.

    Attributes:
        name: The file's stem. It names outputs and pairs files; nothing at inference depends on it.
        shape: (Z, C, H, W) of k-space.
        mask: The mask stored with the scan, or None.
        full: Whether k-space is fully sampled (then `mask` is the one to apply, if any).
        geometry: Its grids.
        source: Reads k-space and images.
        cell: Anatomy and acceleration by the data set's own labels, for scoring and sampling of
            training data, or None.
        data_range: The maximum of the target over the volume as the data set states it, or None.
        find_boxes: Reads the lesion boxes, which few ask for.
        cached: What a cache knows of it, which then holds readout rows in place of k-space.
    """

    name: str
    shape: tuple[int, int, int, int]
    mask: SamplingMask | None
    full: bool
    geometry: Geometry
    source: Source
    cell: Cell | None = None
    data_range: float | None = None
    find_boxes: Callable[[], tuple[Box, ...]] = tuple
    cached: CachedSource | None = None

    @property
    def slices(self) -> int:
        """Z."""
        return self.shape[0]

    def kspace(self, z: slice | int) -> Array:
        """k-space of some slices.

        Args:
            z: A slice, or one index.

        Returns:
            (Z, C, H, W) complex64, centre at index N//2.

        Raises:
            DataError: The file cannot be read, or is a cache; the message names it.
        """
        return self.source.kspace(_as_slice(z))

    def image(self, kind: ImageKind, z: slice | int) -> Array | None:
        """Stored images (target, zero-filled input, GRAPPA), (Z, H, W) float32, or None."""
        return self.source.image(kind, _as_slice(z))

    def stored(self, needs: Needs, mask: SamplingMask, z: int) -> dict[str, torch.Tensor]:
        """Stored images of one slice that stand for a network's priors, (H, W) float32 by name.

        None under another mask than the scan's own, which they were made with.

        Raises:
            DataError: A file cannot be read, or is a cache, which holds no such images.
        """
        if not needs.stored_priors or mask != self.mask:
            return {}
        if self.cached is not None:
            found, expected = "a cache", f"images beside k-space: {', '.join(needs.priors)}"
            do = "use the files that the cache was made from, or set network.stored=false"
            raise DataError(self.name, found, expected, do)
        images = {kind: self.image(kind, z) for kind in needs.priors}
        return {kind: torch.from_numpy(one[0]) for kind, one in images.items() if one is not None}

    def target(self, z: slice | int) -> Array | None:
        """What reconstructions of some slices are compared with.

        The stored target, or the root-sum-of-squares image of fully sampled k-space on the target's
        grid, (Z, H, W) float32; None for masked scans without a stored one.
        """
        stored_ZHW = self.image("target", z)
        if stored_ZHW is not None or not self.full:
            return stored_ZHW
        coil_images_ZCHW = ifft(torch.from_numpy(self.kspace(z)))
        return centre_crop_or_pad(rss(coil_images_ZCHW, 1), self.geometry.target_hw).numpy()

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """Lesion boxes, none where nobody drew any.

        Raises:
            DataError: They cannot be read.
        """
        return self.find_boxes()

    @cached_property
    def id(self) -> str:
        """A content hash of the shape and the middle slice's k-space; names play no part."""
        if self.cached is not None:
            return self.cached.id
        digest = hashlib.sha256(repr(self.shape).encode())
        digest.update(np.ascontiguousarray(self.kspace(self.slices // 2)).tobytes())
        return digest.hexdigest()[:16]


def _as_slice(z: slice | int) -> slice:
    return z if isinstance(z, slice) else slice(z, z + 1)
