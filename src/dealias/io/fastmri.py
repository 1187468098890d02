"""FastMRI's multi-coil layout, read."""

from __future__ import annotations

from pathlib import Path

from dealias.errors import DataError
from dealias.io.guard import open_guarded
from dealias.io.header import read_header
from dealias.io.layout import (
    Hdf5Source,
    image_grid,
    kspace_dataset,
    label,
    sampling,
    stated_maximum,
)
from dealias.scan.scan import Geometry, Scan

TARGET = "reconstruction_rss"


def open_fastmri(path: Path) -> Scan:
    """Open a fastMRI file; the mask comes with test files alone.

    Args:
        path: The file.

    Returns:
        The scan. Where there is no target, its grid is the header's reconstruction matrix.

    Raises:
        DataError: The file or a dataset is refused, or the trajectory is not Cartesian.
    """
    padding = None
    with open_guarded(path) as file:
        shape = kspace_dataset(file).shape
        mask, full = sampling(file)
        cell = label(file, path, mask)
        data_range = stated_maximum(file)
        target_hw = image_grid(file, (TARGET,), shape[0]) if TARGET in file else None
    if target_hw is None:
        header = read_header(path)
        if header.trajectory != "cartesian":
            found = f"a {header.trajectory} trajectory"
            raise DataError(path, found, "cartesian", "grid it first")
        target_hw, padding = header.recon_hw or (shape[2], shape[3]), header.padding
    z, c, h, w = shape
    return Scan(
        name=path.stem,
        shape=(z, c, h, w),
        mask=mask,
        full=full,
        geometry=Geometry((h, w), target_hw, None, padding),
        source=Hdf5Source(path, path, (("target", TARGET),)),
        cell=cell,
        data_range=data_range,
    )
