"""The SNU FastMRI Challenge's layout, and any file with k-space and perhaps a mask, read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dealias.errors import DataError
from dealias.io.boxes import read_boxes
from dealias.io.guard import listed, open_guarded
from dealias.io.layout import (
    Hdf5Source,
    image_grid,
    kspace_dataset,
    label,
    sampling,
    stated_maximum,
)
from dealias.scan.scan import Geometry, ImageKind, Scan

IMAGES: tuple[tuple[ImageKind, str], ...] = (
    ("target", "image_label"),
    ("input", "image_input"),
    ("grappa", "image_grappa"),
)


def open_snu(kspace_path: Path, image_path: Path | None = None) -> Scan:
    """Open a k-space file and its image file.

    Without any image the whole encoded grid is the target's grid.

    Args:
        kspace_path: File with `kspace` and perhaps `mask`.
        image_path: File with `image_label`, `image_input`, `image_grappa`, or None.

    Returns:
        The scan.

    Raises:
        DataError: A file or dataset is refused, or the two do not fit each other.
    """
    with open_guarded(kspace_path) as file:
        shape = kspace_dataset(file).shape
        mask, full = sampling(file)
        cell = label(file, kspace_path, mask)
    target_hw, data_range = (shape[2], shape[3]), None
    if image_path is not None:
        target_hw, data_range = _images(image_path, shape)
    z, c, h, w = shape
    return Scan(
        name=kspace_path.stem,
        shape=(z, c, h, w),
        mask=mask,
        full=full,
        geometry=Geometry((h, w), target_hw),
        source=Hdf5Source(kspace_path, image_path, IMAGES),
        cell=cell,
        data_range=data_range,
        find_boxes=tuple if image_path is None else partial(read_boxes, image_path, z),
    )


def _images(path: Path, shape: tuple[int, ...]) -> tuple[tuple[int, int], float | None]:
    with open_guarded(path) as file:
        keys = [key for _, key in IMAGES if key in file]
        if not keys:
            expected = ", ".join(key for _, key in IMAGES)
            do = "check the image file"
            raise DataError(path, listed(file.names()), expected, do)
        return image_grid(file, keys, shape[0]), stated_maximum(file)
