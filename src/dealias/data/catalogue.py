"""Which files make a data set, paired by name and in a stable order."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dealias.data.cached import find_cache
from dealias.errors import DataError, SettingsError
from dealias.io.open import open_scan
from dealias.scan.scan import Scan

SUFFIXES = {".h5", ".hdf5"}
_RANGE = re.compile(r"\[(\d*):(\d*)\]$")


def open_data(path: Path) -> tuple[Scan, ...]:
    """Open a file, a folder of files, every set below a folder, or a cache of such.

    A folder `kspace` with a sibling `image` is the SNU layout; the two are paired by file name.
    Hidden files (.DS_Store, ._x.h5) and files of other suffixes are no data.

    Args:
        path: A file or a folder; CACHE/val is a part of a cache.

    Returns:
        The scans, sorted by path.

    Raises:
        DataError: Nothing is there, a partner is missing, or a file cannot be used.
    """
    cache = find_cache(path)
    if cache is not None:
        volumes = cache.finished().below()
        if not volumes:
            raise DataError(
                path, "nothing in the cache", "a part that was cached", "check the path"
            )
        return tuple(cache.open(volume) for volume in volumes)
    if is_file(path):
        return (open_scan(path, image_of(path)),)
    return tuple(open_scan(file, image_of(file)) for file in kspace_files(path))


def kspace_files(folder: Path) -> list[Path]:
    """All k-space files below a folder, sorted, each with its image file where a folder has them.

    Raises:
        DataError: There is none, or a pair is broken.
    """
    if not is_folder(folder):
        raise DataError(folder, "no such file or folder", "a data set", "check the path")
    files = data_files(folder)
    kspace = [file for file in files if file.parent.name != "image"]
    if not kspace:
        expected = ".h5 files with k-space"
        raise DataError(folder, "no k-space files", expected, "name the folder that holds them")
    _check_pairs(files)
    return kspace


def data_files(folder: Path) -> list[Path]:
    """All data files below a folder, sorted. Linked folders are followed, but none twice."""
    found: list[Path] = []
    seen: set[Path] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        place = Path(here)
        real = place.resolve()
        # a link back up would lead through everything that lies there
        if real in seen or (place != folder and folder.resolve().is_relative_to(real)):
            folders.clear()
            continue
        seen.add(real)
        folders.sort(key=lambda name: (place / name).is_symlink())
        found += [place / name for name in files if is_data(place / name)]
    return sorted(found)


def is_file(path: Path) -> bool:
    """Whether a path is a file.

    Raises:
        DataError: The path cannot even be looked at.
    """
    return _asked(path, Path.is_file)


def is_folder(path: Path) -> bool:
    """The same for a folder."""
    return _asked(path, Path.is_dir)


def _asked(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a path", "check the path") from None


def is_data(path: Path) -> bool:
    """Whether a path is a data file: an HDF5 suffix, and not hidden."""
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()


def open_split(root: Path, split: str) -> tuple[Scan, ...]:
    """Open one split of a data set.

    Args:
        root: The data set, or a cache of it.
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
    first, last = (
        (int(group) if group else None for group in found.groups()) if found else (0, None)
    )
    cache = find_cache(root)
    scans: list[Callable[[], Scan]]
    if cache is not None:
        scans = [partial(cache.open, volume) for volume in cache.finished().split(name)]
    else:
        scans = [partial(open_scan, file, image_of(file)) for file in _files(root, name)]
    if not scans[first:last]:
        raise SettingsError(f"data split '{split}'", "an empty range", "some files", "")
    return tuple(open_one() for open_one in scans[first:last])


def _files(root: Path, name: str) -> list[Path]:
    folder, _, pattern = name.partition("/")
    candidates = [root / folder, root / f"multicoil_{folder}"]
    for candidate in candidates:
        if is_folder(candidate):
            if is_folder(candidate / pattern):
                return kspace_files(candidate / pattern)
            files = [file for file in kspace_files(candidate) if file.match(f"{pattern}.h5")]
            if files:
                return files
    expected = " or ".join(str(candidate) for candidate in candidates)
    raise DataError(f"{root}: split '{name}'", "nothing", expected, "set data.train and data.val")


def image_of(path: Path) -> Path | None:
    """The image file of a k-space file in the SNU layout, or None."""
    image = path.parent.parent / "image" / path.name
    return image if path.parent.name == "kspace" and image.is_file() else None


def _check_pairs(files: list[Path]) -> None:
    for file in files:
        there = missing_partner(file)
        if there is not None:
            raise DataError(file, f"no partner {there}", "one of the same name", "")


def missing_partner(file: Path) -> str | None:
    """The partner that a k-space or image file lacks, as FOLDER/NAME; None if it lacks none.

    It is looked for on disk: a part of a data set may be asked for alone.
    """
    there = {"kspace": "image", "image": "kspace"}.get(file.parent.name)
    if there is None:
        return None
    partner = file.parent.parent / there / file.name
    if is_data(partner) or not partner.parent.is_dir():
        return None
    forms = (unicodedata.normalize(form, file.name) for form in ("NFC", "NFD"))
    spelt = any(partner.with_name(form).is_file() for form in forms)
    # two such names look the same on every screen
    return f"{there}/{file.name}" + (" but one in another Unicode form" if spelt else "")
