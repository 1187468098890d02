"""The one HDF5 reader. Files come from strangers; named numeric datasets are read, nothing else.

Refused before a byte of data is read: soft and external links anywhere on the path, external
storage, virtual datasets, unknown filters, dtypes that are not plain numbers, shapes too large to
be MRI or far larger than what is stored.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from dealias.errors import DataError
from dealias.table import nearest

MAX_BYTES = 64 << 30
"""Largest declared size of one dataset."""
MAX_RATIO, RATIO_FROM = 100, 64 << 20
"""Declared over stored bytes, refused above this ratio if the declared size is large."""
MAX_ATTRIBUTE_BYTES = 1 << 20
MAX_NAMES = 1000
SHOWN = 8
"""Names that a message lists; a stranger's file may hold any number, of any length."""
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32,
            h5py.h5z.FILTER_LZF}  # fmt: skip
_READ_AGAIN = "copy the file again from its source"
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError,
           ArithmeticError, MemoryError)  # fmt: skip
"""What h5py and NumPy raise on damaged bytes, found by reading thousands of damaged files."""


@contextlib.contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(where, f"damaged data ({_short(error)})", "", _READ_AGAIN) from None


def _short(text: object) -> str:
    said = str(text)
    return said if len(said) <= 200 else f"{said[:200]}..."


def listed(names: Iterable[str]) -> str:
    """The first few names, each cut to 40 characters, for a message."""
    said = [name if len(name) <= 40 else f"{name[:40]}..." for name in names]
    more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return (", ".join(said[:SHOWN]) or "nothing") + more


class GuardedDataset:
    """One numeric dataset that passed the guard."""

    def __init__(self, path: Path, name: str, dataset: h5py.Dataset) -> None:
        self._path, self._name, self._dataset = path, name, dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype

    def read(self, selection: slice | tuple[slice, ...] | Any = ...) -> npt.NDArray[Any]:
        """Read a part.

        Raises:
            DataError: The stored bytes are damaged.
        """
        with _damage(f"{self._path}: dataset '{self._name}'"):
            return np.asarray(self._dataset[selection])


class GuardedFile:
    """An open HDF5 file whose items are checked one by one."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file

    def names(self) -> list[str]:
        """Names at the top of the file, at most 1,000.

        Raises:
            DataError: There are more, or they cannot be read.
        """
        names = []
        with _damage(str(self.path)):
            names = [str(name) for name in itertools.islice(self._file, MAX_NAMES + 1)]
        if len(names) > MAX_NAMES:
            raise DataError(self.path, f"over {MAX_NAMES:,} items", "an MRI file", "")
        return names

    def __contains__(self, name: str) -> bool:
        # links alone are looked up; `in` on the file would follow them
        with _damage(f"{self.path}: dataset '{name}'"):
            return self._first_link(name) is not None

    def dataset(self, name: str) -> GuardedDataset:
        """A numeric dataset.

        Args:
            name: Its name, or path through groups.

        Raises:
            DataError: It is missing (the nearest name is proposed) or refused.
        """
        where = f"{self.path}: dataset '{name}'"
        dataset = self._opened(name)
        with _damage(where):
            _check_dtype(where, dataset)
            _check_size(where, dataset)
            return GuardedDataset(self.path, name, dataset)

    def check_text(self, name: str) -> None:
        """Refuse a text that lies elsewhere or claims to be huge, without reading it.

        Raises:
            DataError: It is missing or refused.
        """
        where = f"{self.path}: dataset '{name}'"
        dataset = self._opened(name)
        with _damage(where):
            if dataset.id.get_type().get_class() != h5py.h5t.STRING:
                raise DataError(where, f"dtype {dataset.dtype}", "a text", "")
            _check_size(where, dataset)

    def _opened(self, name: str) -> h5py.Dataset:
        """A dataset that lies in the file itself, of any dtype."""
        where = f"{self.path}: dataset '{name}'"
        if name not in self:
            names = self.names()
            same = [known for known in names if known.lower() == name.lower()]
            do = f"did you mean '{same[0]}'?" if same else nearest(name, names)
            raise DataError(where, f"only {listed(names)}", f"'{name}'", do)
        with _damage(where):
            if self._first_link(name) is not h5py.HardLink:
                raise DataError(where, "a link", "data in the file itself", "store a copy")
            dataset = self._file[name]
            if not isinstance(dataset, h5py.Dataset):
                raise DataError(where, "a group", "a dataset", "check how the file was written")
            _check_storage(where, dataset)
            return dataset

    def _first_link(self, name: str) -> type | None:
        """What kind of link the first one on a path is that is no hard link; None if one lacks."""
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            part = "/".join(parts[:end])
            if not self._file.id.links.exists(part.encode()):
                return None
            link = self._file.get(part, getlink=True)
            if not isinstance(link, h5py.HardLink):
                return type(link)
        return h5py.HardLink

    def number(self, name: str) -> float | None:
        """A numeric attribute of the file, or None if there is none.

        Raises:
            DataError: It is there but is no single number.
        """
        where = f"{self.path}: attribute '{name}'"
        do = "write it as a float"
        with _damage(where):
            attribute = self._attribute(where, name)
            if attribute is None:
                return None
            if attribute.get_type().get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
                raise DataError(where, "no number", "a number", do)
            count = attribute.get_space().get_simple_extent_npoints()
            if count != 1:
                raise DataError(where, f"{count} values", "one number", do)
            return float(np.ravel(self._file.attrs[name])[0])

    def text(self, name: str) -> str | None:
        """A text attribute of fixed length, or None if there is none of that kind.

        Text of variable length is not read: damaged files crash the library there.
        """
        where = f"{self.path}: attribute '{name}'"
        with _damage(where):
            attribute = self._attribute(where, name)
            if attribute is None or attribute.get_type().get_class() != h5py.h5t.STRING:
                return None
            if attribute.get_type().is_variable_str():
                return None
            if attribute.get_space().get_simple_extent_npoints() != 1:
                return None
            value = np.ravel(self._file.attrs[name])[0]
            return bytes(value).decode(errors="replace")

    def has_attribute(self, name: str) -> bool:
        """Whether the file has an attribute of that name."""
        return bool(h5py.h5a.exists(self._file.id, name.encode()))

    def _attribute(self, where: str, name: str) -> Any:
        if not self.has_attribute(name):
            return None
        attribute = h5py.h5a.open(self._file.id, name.encode())
        # of nothing at all, the library cannot tell the storage
        count = attribute.get_space().get_simple_extent_npoints()
        if count * attribute.get_type().get_size() > MAX_ATTRIBUTE_BYTES:
            raise DataError(where, "over 1 MiB", "a small value", "")
        return attribute


@contextlib.contextmanager
def open_guarded(path: Path) -> Iterator[GuardedFile]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: It is missing, no HDF5 file, truncated, locked, or may not be read.
    """
    file = _open(path)
    try:
        yield GuardedFile(path, file)
    finally:
        file.close()


def _open(path: Path) -> h5py.File:
    try:
        # a pipe or a device would be waited for; HDF5 wants bytes that stay
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFDIR:
            raise DataError(path, "a folder", "an HDF5 file", "name a file in it")
        if kind != stat.S_IFREG:
            raise DataError(path, "a pipe or device", "an HDF5 file", "store it as a file")
        return h5py.File(path, "r")
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(path, "no such file", "an HDF5 file", "check the path") from None
    except PermissionError:
        raise DataError(path, "no permission to read", "", "chmod it") from None
    except _DAMAGE as error:
        raise _not_opened(path, error) from None


def _not_opened(path: Path, error: BaseException) -> DataError:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.EAGAIN, errno.EWOULDBLOCK):
        do = "wait until its writer has closed it"
        return DataError(path, "a locked file, being written", "", do)
    if code in (errno.ELOOP, errno.ENAMETOOLONG):
        return DataError(path, os.strerror(code), "an HDF5 file", "check the path")
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return DataError(path, f"no readable file ({_short(error)})", "an HDF5 file", "")
    found = f"no readable HDF5 in {size} bytes ({_short(error)})" if size else "an empty file"
    return DataError(path, found, "an HDF5 file", _READ_AGAIN)


def _check_storage(where: str, dataset: h5py.Dataset) -> None:
    properties = dataset.id.get_create_plist()
    do = "store a copy of the data in the file itself"
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise DataError(where, "a virtual dataset", "data in the file itself", do)
    if properties.get_external_count() > 0:
        raise DataError(where, "external storage", "data in the file itself", do)
    for index in range(properties.get_nfilters()):
        code = properties.get_filter(index)[0]
        if code not in _FILTERS:
            expected = "gzip, lzf, shuffle, fletcher32 or none"
            raise DataError(where, f"filter {code}", expected, "write it without that filter")


def _check_dtype(where: str, dataset: h5py.Dataset) -> None:
    kind = dataset.id.get_type().get_class()
    dtype = dataset.dtype
    if kind == h5py.h5t.COMPOUND and dtype.kind != "c":
        found = f"a compound of {listed(dtype.names or ())}"
        raise DataError(where, found, "complex numbers (r, i)", "write it as numpy complex64")
    if dtype.kind not in "buifc" or dtype.hasobject:
        do = "write it as a numeric array"
        raise DataError(where, f"dtype {_short(dtype)}", "plain numbers", do)


def _check_size(where: str, dataset: h5py.Dataset) -> None:
    if dataset.shape is None:
        raise DataError(where, "no shape at all", "an array", "write it as a numeric array")
    # a chunk is unpacked whole, even where the dataset is smaller
    elements = max(math.prod(dataset.shape), math.prod(dataset.chunks or (0,)))
    declared = elements * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > MAX_BYTES:
        found = f"shape {dataset.shape}, {declared >> 30} GiB"
        raise DataError(where, found, f"at most {MAX_BYTES >> 30} GiB", "split the volume")
    if declared > RATIO_FROM and declared > MAX_RATIO * stored:
        found = f"{declared >> 20} MiB declared and {stored >> 10} KiB stored"
        raise DataError(where, found, "data that does not compress so far", _READ_AGAIN)
