"""Reconstructions on disk: one file a volume, as the challenge and fastMRI expect them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.io.guard import open_guarded
from dealias.io.write import write_hdf5

Images = npt.NDArray[np.float32]
NOTICE = "Research use only, not a medical device"
DATASET = "reconstruction"


def write_reconstruction(
    folder: Path, name: str, recon_ZHW: Images, attributes: Mapping[str, Any] | None = None
) -> Path:
    """Write FOLDER/NAME.h5 with dataset `reconstruction`, atomically.

    Args:
        folder: Where.
        name: The scan's name.
        recon_ZHW: Float32 in the data's units.
        attributes: More numbers and short texts.

    Returns:
        Path of the file.

    Raises:
        DiskError: The disk is full or may not be written.
    """
    path = folder / f"{name}.h5"
    images = np.ascontiguousarray(recon_ZHW, dtype=np.float32)
    write_hdf5(path, {DATASET: images}, {"software_notice": NOTICE, **(attributes or {})})
    return path


def read_passes(path: Path) -> int:
    """How many reconstructions each image of a file is the average of; 1 where it says nothing.

    Raises:
        DataError: The file is missing or refused.
    """
    with open_guarded(path) as file:
        return int(file.number("passes") or 1)


def read_reconstruction(path: Path) -> Images:
    """Read a reconstruction, (Z, H, W) float32.

    Raises:
        DataError: The file is missing or refused.
    """
    with open_guarded(path) as file:
        images = file.dataset(DATASET).read()
    if images.ndim != 3 or images.dtype.kind != "f":
        found = f"{images.dtype} of shape {images.shape}"
        expected = "float32 of shape (slices, H, W)"
        raise DataError(f"{path}: dataset '{DATASET}'", found, expected, "reconstruct it again")
    return images.astype(np.float32, copy=False)
