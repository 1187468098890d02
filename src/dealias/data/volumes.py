"""Real magnitude volumes (NIfTI) as objects for the simulated scanner."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dealias.errors import DataError, SettingsError
from dealias.physics.anatomy import Grid

MAX_VOXELS = 1 << 29
_DAMAGE = (OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error)
"""What nibabel lets through from damaged files."""
_MARGIN = 1.1
_LOW, _HIGH = 0.35, 0.85
"""Share of the head's height from which slices are taken: above the neck, below the crown."""


def axial_slices(
    path: Path, slices: int, grid: Grid, shift: int = 0
) -> Iterator[npt.NDArray[np.float32]]:
    """Axial slices of a head, interpolated to the scanner's grid (cubic in plane).

    The file's own resolution stays what it is: detail finer than its voxels does not appear.

    Args:
        path: A NIfTI file.
        slices: How many, evenly spread over the brain.
        grid: The scanner's rendering grid.
        shift: Moves the slices by a fraction of their distance, so that scans of one head differ.

    Yields:
        (H, W) float32 >= 0, anterior at the top.

    Raises:
        DataError: The file cannot be read as a 3-D volume.
        SettingsError: nibabel is not installed.
    """
    volume, spacing = load_volume(path)
    bright = volume > 0.15 * np.percentile(volume, 99)
    inside = np.flatnonzero(bright.any(axis=(0, 1)))
    low, high = (inside[0] + share * np.ptp(inside) for share in (_LOW, _HIGH))
    step = (high - low) / slices
    positions = low + step * (np.arange(slices) + (shift % 8) / 8)
    reach = _MARGIN * max(n * s for n, s in zip(volume.shape[:2], spacing[:2], strict=True)) / 2
    y, x = grid.coordinates()
    for position in positions:
        plane = volume[:, :, int(round(position))]
        rows = plane.shape[0] / 2 - 0.5 + x * reach / spacing[0] + 0 * y
        columns = plane.shape[1] / 2 - 0.5 - y * reach / spacing[1] + 0 * x
        image = ndimage.map_coordinates(plane, [rows, columns], order=3, mode="constant")
        yield np.clip(image, 0, None).astype(np.float32)


def load_volume(path: Path) -> tuple[npt.NDArray[np.float32], tuple[float, float, float]]:
    """A volume in RAS+ order and its voxel size in mm."""
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError:
        do = "pip install 'dealias[volumes]'"
        raise SettingsError("--from", "no nibabel", "the extra `volumes`", do) from None
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        shape = image.shape[:3]
        if len(image.shape) < 3 or int(np.prod(image.shape)) > MAX_VOXELS:
            raise DataError(path, f"shape {image.shape}", "a 3-D volume", "give another file")
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(*shape, -1)[..., 0]
    except (*_DAMAGE, ImageFileError, HeaderDataError) as error:
        raise DataError(path, f"no readable NIfTI ({error})", "a NIfTI volume", "") from None
    if not np.isfinite(data).all() or data.max() <= 0:
        raise DataError(path, "NaN or nothing above 0", "a magnitude image", "give another file")
    spacing = image.header.get_zooms()[:3]
    return data, (float(spacing[0]), float(spacing[1]), float(spacing[2]))
