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
"""Field of view over the head's longest side in plane: planned around the head, as on a scanner."""
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
    (middle_x, side_x), (middle_y, side_y) = _box(bright[..., int(low) : int(high) + 1])
    reach = _MARGIN * max(side_x * spacing[0], side_y * spacing[1]) / 2
    y, x = grid.coordinates()
    for position in positions:
        plane = volume[:, :, int(round(position))]
        rows = middle_x + x * reach / spacing[0] + 0 * y
        columns = middle_y - y * reach / spacing[1] + 0 * x
        image = ndimage.map_coordinates(plane, [rows, columns], order=3, mode="constant")
        yield np.clip(image, 0, None).astype(np.float32)


def _box(bright: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Middle and length, in voxels, of a head along the first two axes.

    Ends are where 2 % of a line through the slab is bright: a speck of noise is no head.
    """
    ends = []
    for axis in (0, 1):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(bright.mean(axis=others) > 0.02)
        found = found if found.size else np.arange(bright.shape[axis])
        ends.append(((found[0] + found[-1]) / 2, float(found[-1] - found[0] + 1)))
    return ends


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
