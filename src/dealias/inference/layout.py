"""Where the reconstruction of each scan goes: the input's sub-folders are mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dealias.errors import DataError
from dealias.scan.scan import Scan

_KSPACE = "kspace"


def output_folders(scans: Sequence[Scan]) -> list[Path]:
    """A folder for each scan's reconstruction, relative to the output folder.

    The deepest folder that all inputs share counts as nothing, and so does a folder "kspace", which
    only tells k-space from images: SNU's acc4/kspace/a.h5 goes to acc4/a.h5, fastMRI's flat
    folder stays flat, and files of one name from two folders do not meet.

    Args:
        scans: All scans of the data set.

    Returns:
        One relative folder per scan, in their order.

    Raises:
        DataError: Two scans would share one output file.
    """
    parents = [_parent(scan) for scan in scans]
    shared = _shared(parents)
    folders = [_without_kspace(parent.parts[shared:]) for parent in parents]
    seen: set[tuple[Path, str]] = set()
    for folder, scan in zip(folders, scans, strict=True):
        if (folder, scan.name) in seen:
            do = "reconstruct them one after the other into two folders"
            raise DataError(scan.name, "two scans of this name in one folder", "one", do)
        seen.add((folder, scan.name))
    return folders


def _parent(scan: Scan) -> Path:
    path = getattr(scan.source, "kspace_path", None)
    return Path(path).absolute().parent if path is not None else Path()


def _shared(parents: Sequence[Path]) -> int:
    columns = zip(*(parent.parts for parent in parents), strict=False)
    count = 0
    for parts in columns:
        if len(set(parts)) > 1:
            break
        count += 1
    return count


def _without_kspace(parts: tuple[str, ...]) -> Path:
    return Path(*(part for part in parts if part != _KSPACE))
