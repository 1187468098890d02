"""What both HDF5 layouts share: k-space, mask, whether it is masked, labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.io.guard import GuardedDataset, GuardedFile, open_guarded
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import Bools, SamplingMask
from dealias.scan.scan import Cell, ImageKind

Array = npt.NDArray[Any]


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
            return file.dataset("kspace").read(z).astype(np.complex64, copy=False)

    def image(self, kind: ImageKind, z: slice) -> Array | None:
        """(Z, H, W) float32, or None."""
        key = dict(self.image_keys).get(kind)
        if key is None or self.image_path is None:
            return None
        with open_guarded(self.image_path) as file:
            if key not in file:
                return None
            return file.dataset(key).read(z).astype(np.float32, copy=False)


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


def sampled_columns(dataset: GuardedDataset) -> Bools:
    """Columns of the middle slice that hold anything but zeros: (W,) bool."""
    middle = dataset.shape[0] // 2
    one_coil = dataset.read((slice(middle, middle + 1), slice(0, 1)))
    sampled = (one_coil != 0).any(axis=(0, 1, 2))
    if not sampled.any():
        sampled = (dataset.read(slice(middle, middle + 1)) != 0).any(axis=(0, 1, 2))
    return np.asarray(sampled)


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
    values = dataset.read()
    if not np.isin(values, (0, 1)).all():
        raise DataError(where, "values other than 0 and 1", "a binary mask", "store 0 and 1")
    if not values.any():
        raise DataError(where, "only zeros", "some sampled lines", "store the scan's own mask")
    return identify(values.astype(bool))


def sampling(file: GuardedFile) -> tuple[SamplingMask | None, bool]:
    """The mask, and whether k-space is fully sampled, found from the samples themselves.

    Zero columns at the two edges are padding, not undersampling.
    """
    dataset = kspace_dataset(file)
    mask = read_mask(file, dataset.shape)
    if mask is not None and mask.lines.ndim == 2:
        middle = dataset.shape[0] // 2
        samples = dataset.read((slice(middle, middle + 1), slice(0, 1)))[0, 0]
        return mask, bool((samples[~mask.lines] != 0).any())
    columns = sampled_columns(dataset)
    if not columns.any():
        return mask, mask is None
    if mask is not None:
        return mask, bool(columns[~mask.lines].any()) or mask.full
    inner = columns[np.flatnonzero(columns)[0] : np.flatnonzero(columns)[-1] + 1]
    return (None, True) if inner.all() else (identify(columns), False)


def label(file: GuardedFile, path: Path, mask: SamplingMask | None) -> Cell | None:
    """Anatomy and acceleration as labels of a data set, for scoring and for drawing samples.

    Attributes first, then the challenge's names, then the mask. Nothing at inference uses it.
    """
    anatomy = file.text("anatomy")
    if anatomy is None:
        found = re.match(r"(?:file_)?(brain|knee)", path.stem)
        anatomy = found.group(1) if found else None
    acceleration = file.number("acceleration")
    if acceleration is None:
        folders = "/".join(part.name for part in (path, path.parent, path.parent.parent))
        found = re.search(r"acc(\d+)", folders)
        acceleration = float(found.group(1)) if found else (mask.nominal if mask else None)
    return Cell(anatomy, int(acceleration)) if anatomy and acceleration else None
