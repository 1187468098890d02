"""Writing HDF5 files that can be trusted: checksummed, and whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from dealias.atomic import replacing


def write_hdf5(
    path: Path, datasets: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, Any]
) -> None:
    """Write datasets and attributes atomically.

    Arrays are stored one slice a chunk with a fletcher32 checksum and no compression (k-space
    does not compress); texts as fixed-length bytes.

    Args:
        path: The file.
        datasets: Arrays by name; those of more than one axis are chunked along the first.
        attributes: Numbers and texts.

    Raises:
        DiskError: The disk is full or may not be written.
    """
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for name, array in datasets.items():
            if array.ndim == 0:
                file.create_dataset(name, data=array)
                continue
            chunks = (1, *array.shape[1:]) if array.ndim > 1 else array.shape
            file.create_dataset(name, data=array, chunks=chunks, fletcher32=True)
        for name, value in attributes.items():
            file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
