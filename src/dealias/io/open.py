"""Opening a scan of any known layout, told by content and never by name."""

from __future__ import annotations

from pathlib import Path

from dealias.io.fastmri import TARGET, open_fastmri
from dealias.io.guard import open_guarded
from dealias.io.snu import open_snu
from dealias.scan.scan import Scan


def open_scan(path: Path, image_path: Path | None = None) -> Scan:
    """Open a file of k-space.

    Args:
        path: An HDF5 file with `kspace`.
        image_path: Its image file in the SNU layout, or None.

    Returns:
        The scan.

    Raises:
        DataError: It cannot be used.
    """
    with open_guarded(path) as file:
        fastmri = TARGET in file or "ismrmrd_header" in file
    return open_fastmri(path) if fastmri else open_snu(path, image_path)
