"""What both HDF5 layouts share: k-space, mask, whether it is masked, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.io.guard import GuardedDataset, GuardedFile, open_guarded
from dealias.io.mask import as_lines
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import Bools, SamplingMask
from dealias.scan.scan import Cell, ImageKind

Array = npt.NDArray[Any]
FULL_2D = 0.6
"""Share of samples off a 2-D mask that full k-space measures: all, or an ellipse (0.79); a second
mask leaves half of them or fewer."""


@dataclass(frozen=True)
class Hdf5Source:
    """Reads one volume; opens the file at each call, so it is safe in any process.

    Attributes:
        kspace_path: File with `kspace`.
        image_path: File with images, or None.
        image_keys: Dataset of each kind of image.
    """

    kspace_path: Path
    image_path: Path | None
    image_keys: tuple[tuple[ImageKind, str], ...]

    def kspace(self, z: slice) -> Array:
        """(Z, C, H, W) complex64."""
        with open_guarded(self.kspace_path) as file:
            return _narrow(file.dataset("kspace").read(z), np.complex64)

    def image(self, kind: ImageKind, z: slice) -> Array | None:
        """(Z, H, W) float32, or None."""
        key = dict(self.image_keys).get(kind)
        if key is None or self.image_path is None:
            return None
        with open_guarded(self.image_path) as file:
            if key not in file:
                return None
            return _narrow(file.dataset(key).read(z), np.float32)


def _narrow(values: Array, dtype: type) -> Array:
    # what single precision cannot hold becomes infinite, which `check` reports
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def kspace_dataset(file: GuardedFile) -> GuardedDataset:
    """The k-space dataset, of four axes and complex.

    Raises:
        DataError: It is missing, refused, or of another rank or dtype.
    """
    dataset = file.dataset("kspace")
    where = f"{file.path}: dataset 'kspace'"
    expected = "complex64 of shape (slices, coils, readout, phase encode)"
    if dataset.dtype.kind != "c":
        do = "store complex numbers; a last axis of real and imaginary parts is not read"
        raise DataError(where, f"{dataset.dtype} of shape {dataset.shape}", expected, do)
    if len(dataset.shape) != 4 or 0 in dataset.shape:
        do = "add the missing axis, of size 1 for one coil"
        raise DataError(where, f"shape {dataset.shape}", expected, do)
    return dataset


def image_grid(file: GuardedFile, keys: Sequence[str], slices: int) -> tuple[int, int]:
    """(H, W) of a volume's images, which all share it.

    Args:
        file: With the images.
        keys: Of those it holds.
        slices: Z of k-space.

    Raises:
        DataError: An image is no real (Z, H, W), or they differ.
    """
    first: tuple[int, ...] = ()
    for key in keys:
        dataset = file.dataset(key)
        where, shape = f"{file.path}: dataset '{key}'", dataset.shape
        if len(shape) != 3 or shape[0] != slices or 0 in shape:
            expected = f"({slices}, H, W), as k-space has {slices} slices"
            do = "pair each image file with its own k-space file"
            raise DataError(where, f"shape {shape}", expected, do)
        if dataset.dtype.kind not in "fiu":
            raise DataError(where, str(dataset.dtype), "real numbers", "store magnitudes")
        first = first or shape
        if shape != first:
            expected = f"{first}, as '{keys[0]}' has"
            raise DataError(where, f"shape {shape}", expected, "store all on one grid")
    return first[1], first[2]


def stated_maximum(file: GuardedFile) -> float | None:
    """The attribute `max`, None if there is none; 0 says that the target is blank.

    Raises:
        DataError: It is no maximum of magnitudes.
    """
    value = file.number("max")
    if value is not None and not 0 <= value < math.inf:
        where = f"{file.path}: attribute 'max'"
        raise DataError(where, f"{value:g}", "the target's maximum", "write it again or drop it")
    return value


def measured_samples(dataset: GuardedDataset) -> Bools:
    """Which samples of a slice hold anything but zeros: (H, W) bool.

    Of the slice with signal that is nearest to the middle, and its first coil if that has any.
    """
    middle = dataset.shape[0] // 2
    measured = np.zeros(dataset.shape[2:], dtype=bool)
    for z in sorted(range(dataset.shape[0]), key=lambda z: abs(z - middle)):
        for coils in (slice(0, 1), slice(None)):
            measured = (dataset.read((slice(z, z + 1), coils)) != 0).any(axis=(0, 1))
            if measured.any():
                return measured
    return measured


def read_mask(file: GuardedFile, shape: tuple[int, ...]) -> SamplingMask | None:
    """The stored mask, identified; None where the file has none.

    Raises:
        DataError: It is not binary, of another width, or empty.
    """
    if "mask" not in file:
        return None
    where = f"{file.path}: dataset 'mask'"
    dataset = file.dataset("mask")
    if dataset.shape not in ((shape[-1],), tuple(shape[-2:])):
        expected = f"({shape[-1]},) or {tuple(shape[-2:])}, as k-space is {tuple(shape)}"
        raise DataError(where, f"shape {dataset.shape}", expected, "store the scan's own mask")
    return identify(as_lines(where, dataset.read()))


def sampling(file: GuardedFile) -> tuple[SamplingMask | None, bool]:
    """The mask, and whether k-space is fully sampled, found from the samples themselves.

    Zero columns at the two edges are padding, not undersampling.

    Raises:
        DataError: K-space is masked, and not by the stored mask.
    """
    dataset = kspace_dataset(file)
    mask = read_mask(file, dataset.shape)
    measured = measured_samples(dataset)
    if not measured.any():
        return mask, mask is None
    columns: Bools = np.asarray(measured.any(axis=0))
    inner = columns[np.flatnonzero(columns)[0] : np.flatnonzero(columns)[-1] + 1]
    if mask is None:
        return (None, True) if inner.all() else (identify(columns), False)
    samples = columns if mask.lines.ndim == 1 else measured
    if not samples[~mask.lines].any() and not mask.full:
        return mask, False
    # full k-space has signal wherever the mask leaves out; k-space under another mask has gaps
    full = inner.all() if mask.lines.ndim == 1 else samples[~mask.lines].mean() > FULL_2D
    if not full:
        where = f"{file.path}: dataset 'mask'"
        found = "another mask than the one k-space was masked with"
        do = "store the mask that was used, or none: it is then found from k-space"
        raise DataError(where, found, "zeros in k-space where the mask has them", do)
    return mask, True


def label(file: GuardedFile, path: Path, mask: SamplingMask | None) -> Cell | None:
    """Anatomy and acceleration as labels of a data set, for scoring and for drawing samples.

    Attributes first, then the challenge's names, then the mask. Nothing at inference uses it.

    Raises:
        DataError: The acceleration is no number of that kind.
    """
    anatomy = file.text("anatomy")
    if anatomy is None:
        found = re.match(r"(?:file_)?(brain|knee)", path.stem)
        anatomy = found.group(1) if found else None
    acceleration = file.number("acceleration")
    if acceleration is not None and not 0 <= acceleration < math.inf:
        where = f"{path}: attribute 'acceleration'"
        raise DataError(where, f"{acceleration:g}", "a number such as 4", "write it again")
    if acceleration is None:
        folders = "/".join(part.name for part in (path, path.parent, path.parent.parent))
        found = re.search(r"acc(\d+)", folders)
        acceleration = float(found.group(1)) if found else (mask.nominal if mask else None)
    return Cell(anatomy, int(acceleration)) if anatomy and acceleration else None
