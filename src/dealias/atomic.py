"""Files that are whole or absent: write beside the target, flush to disk, rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dealias.errors import DiskError

_PARTIAL = ".partial-"
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write to; on success it becomes the target in one step, else it vanishes.

    Args:
        target: The final file or folder. A folder must not exist yet; a file is replaced.

    Yields:
        A path in the same folder (so that the rename cannot cross file systems), not yet there.

    Raises:
        DiskError: The disk is full, or the folder cannot be written.
    """
    # a short name: the target's own may already be as long as the file system allows
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
    partial = target.with_name(f"{_PARTIAL}{os.getpid()}-{digest}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush(partial)
        partial.replace(target)
        flush_folder(target.parent)
    except OSError as error:
        _remove(partial)
        raise disk_error(error, target) from error
    except BaseException:
        _remove(partial)
        raise


def disk_error(error: OSError, target: Path) -> Exception:
    """The user's version of an error while writing; errors that are not the disk's stay as is."""
    if error.errno in _FULL:
        free = shutil.disk_usage(target.parent).free >> 20
        found = f"disk full or file too large ({free} MiB free)"
        return DiskError(target, found, "room to write it", "free some space, then run it again")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return DiskError(target, "no permission to write", "a folder you may write", "choose --out")
    return error


def write_bytes(target: Path, data: bytes) -> None:
    """Write a file atomically."""
    with replacing(target) as partial, partial.open("wb") as file:
        file.write(data)


def write_json(target: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically; NaN is refused because JSON has none."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(target, text.encode())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_stale(folder: Path) -> list[str]:
    """Remove what interrupted writers left in a folder; gives the names removed."""
    stale = sorted(folder.glob(f"{_PARTIAL}*"))
    for path in stale:
        _remove(path)
    return [path.name for path in stale]


def flush_folder(folder: Path) -> None:
    """Force a folder's entries (names, renames) to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush(path: Path) -> None:
    files = [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
    if path.is_dir():
        flush_folder(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
