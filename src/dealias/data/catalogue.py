"""Which files make a data set, paired by name and in a stable order."""

from __future__ import annotations

import re
from pathlib import Path

from dealias.errors import DataError, SettingsError
from dealias.io.open import open_scan
from dealias.scan.scan import Scan

SUFFIXES = {".h5", ".hdf5"}
_RANGE = re.compile(r"\[(\d*):(\d*)\]$")


def open_data(path: Path) -> tuple[Scan, ...]:
    """Open a file, a folder of files, or every set below a folder.

    A folder `kspace` with a sibling `image` is the SNU layout; the two are paired by file name.
    Hidden files (.DS_Store, ._x.h5) and files of other suffixes are no data.

    Args:
        path: A file or a folder.

    Returns:
        The scans, sorted by path.

    Raises:
        DataError: Nothing is there, a partner is missing, or a file cannot be used.
    """
    if path.is_file():
        return (open_scan(path, _image_of(path)),)
    return tuple(open_scan(file, _image_of(file)) for file in kspace_files(path))


def kspace_files(folder: Path) -> list[Path]:
    """All k-space files below a folder, sorted, each with its image file where a folder has them.

    Raises:
        DataError: There is none, or a pair is broken.
    """
    if not folder.is_dir():
        raise DataError(folder, "no such file or folder", "a data set", "check the path")
    files = [file for file in sorted(folder.rglob("*")) if is_data(file)]
    kspace = [file for file in files if file.parent.name != "image"]
    if not kspace:
        expected = ".h5 files with k-space"
        raise DataError(folder, "no k-space files", expected, "name the folder that holds them")
    _check_pairs(files)
    return kspace


def is_data(path: Path) -> bool:
    """Whether a path is a data file: an HDF5 suffix, and not hidden."""
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()


def open_split(root: Path, split: str) -> tuple[Scan, ...]:
    """Open one split of a data set.

    Args:
        root: The data set.
        split: A folder below it ("train"; for fastMRI also "multicoil_train"), a pattern of names
            ("train/brain_*"), either with a range of positions in the sorted list ("train[0:280]").

    Returns:
        The scans.

    Raises:
        DataError: Nothing is there, or a file cannot be used.
        SettingsError: The range is empty.
    """
    found = _RANGE.search(split)
    name = split[: found.start()] if found else split
    files = _files(root, name)
    if found:
        first, last = (int(group) if group else None for group in found.groups())
        files = files[first:last]
        if not files:
            raise SettingsError(f"data split '{split}'", "an empty range", "some files", "")
    return tuple(open_scan(file, _image_of(file)) for file in files)


def _files(root: Path, name: str) -> list[Path]:
    folder, _, pattern = name.partition("/")
    candidates = [root / folder, root / f"multicoil_{folder}"]
    for candidate in candidates:
        if candidate.is_dir():
            if (candidate / pattern).is_dir():
                return kspace_files(candidate / pattern)
            files = [file for file in kspace_files(candidate) if file.match(f"{pattern}.h5")]
            if files:
                return files
    expected = " or ".join(str(candidate) for candidate in candidates)
    raise DataError(f"{root}: split '{name}'", "nothing", expected, "set data.train and data.val")


def _image_of(path: Path) -> Path | None:
    image = path.parent.parent / "image" / path.name
    return image if path.parent.name == "kspace" and image.is_file() else None


def _check_pairs(files: list[Path]) -> None:
    known = set(files)
    for file in files:
        for here, there in (("kspace", "image"), ("image", "kspace")):
            partner = file.parent.parent / there / file.name
            if file.parent.name == here and partner.parent.is_dir() and partner not in known:
                raise DataError(file, f"no partner {there}/{file.name}", "one of the same name", "")
