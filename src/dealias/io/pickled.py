"""Weights that other tools pickled (.pt, .pth, .ckpt): read without running anything in them."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from dealias.errors import CheckpointError

SIZE_LIMIT = 8 << 30
# paths are built as pure ones, which any system can make and which touch no file
_ALLOWED: dict[str, Any] = {
    "argparse.Namespace": argparse.Namespace,
    **{
        f"{module}.{name}": (
            pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
        )
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    },
}


def read_pickle_weights(path: Path) -> dict[str, Any]:
    """Read a .pt checkpoint of another tool, tensors and plain values alone.

    Args:
        path: A file that torch.save wrote in its zip format.

    Returns:
        What was saved, on the CPU; Namespaces became dicts and paths became strings.

    Raises:
        CheckpointError: It is no such file, is damaged, would unpack to more than it holds, or
            names anything that could run code (the names are listed).
    """
    _check_zip(path)
    _check_globals(path)
    allowed: list[Any] = [(made, name) for name, made in _ALLOWED.items()]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, OSError, ValueError, TypeError, KeyError,
            AttributeError, IndexError, EOFError, AssertionError) as error:  # fmt: skip
        raise CheckpointError(path, f"damaged checkpoint ({_first_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(path, f"a {type(content).__name__}", "a dictionary of weights")
    try:
        return _plain(content)
    except RecursionError as error:
        raise CheckpointError(path, "values that contain themselves", "plain values") from error


def _check_zip(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(path, "no such file", "a .pt checkpoint")
    if not zipfile.is_zipfile(path):
        do = "load it where you trust it and torch.save it again with a current torch"
        raise CheckpointError(path, "no zip (a legacy pickle or tar?)", "torch's zip format", do)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(path, f"a damaged zip ({_first_line(error)})") from error
    if damaged is not None:
        raise CheckpointError(path, f"checksum of '{damaged}' is wrong", do="copy the file again")


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    packed = [item.filename for item in members if item.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise CheckpointError(path, f"compressed member '{packed[0]}'", "members stored plain")
    total = sum(item.file_size for item in members)
    if total > min(SIZE_LIMIT, path.stat().st_size):
        raise CheckpointError(path, f"members of {total} bytes", "no more than the file itself")


def _check_globals(path: Path) -> None:
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # a scanner of hostile bytes may fail in any way
        raise CheckpointError(path, f"a damaged pickle ({_first_line(error)})") from error
    unsafe = sorted(set(named) - set(_ALLOWED))
    if unsafe:
        do = "do not load it; ask its maker for plain weights"
        raise CheckpointError(path, f"code: {', '.join(unsafe)}", "tensors and plain values", do)


def _plain(value: Any) -> Any:
    if isinstance(value, argparse.Namespace):
        return _plain(vars(value))
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
