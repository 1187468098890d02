"""Any sampling mask from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.io.guard import open_guarded
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import Bools, SamplingMask

Array = npt.NDArray[Any]

MAX_FILE = 64 << 20


def load_mask(path: Path) -> SamplingMask:
    """A mask stored as a NumPy array, or as the dataset `mask` of an HDF5 file.

    Args:
        path: NAME.npy, NAME.h5 or NAME.hdf5, holding (W,) or (H, W) of 0 and 1.

    Returns:
        The mask; family, acceleration and ACS are identified from it.

    Raises:
        DataError: It is missing, damaged, or no binary mask.
    """
    values = _npy(path) if path.suffix == ".npy" else _hdf5(path)
    if values.ndim not in (1, 2) or values.size == 0:
        raise DataError(path, f"shape {values.shape}", "(W,) or (H, W)", "store one mask")
    return identify(as_lines(str(path), values))


def as_lines(where: str, values: Array) -> Bools:
    """Stored numbers as booleans.

    Args:
        where: For the message.
        values: Of any plain type.

    Raises:
        DataError: They are not binary, or none is set.
    """
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all():
        raise DataError(where, "values other than 0 and 1", "a binary mask", "store 0 and 1")
    if not values.any():
        raise DataError(where, "only zeros", "some sampled lines", "store the scan's own mask")
    return values.astype(bool)


def _npy(path: Path) -> Array:
    if not path.is_file():
        raise DataError(path, "no such file", "a mask", "check the path")
    if path.stat().st_size > MAX_FILE:
        raise DataError(path, "over 64 MiB", "a mask", "store one mask, not one for each slice")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(path, f"no readable .npy ({error})", "a NumPy array", "") from None


def _hdf5(path: Path) -> Array:
    with open_guarded(path) as file:
        return file.dataset("mask").read()
