"""The one HDF5 reader. Files come from strangers; named numeric datasets are read, nothing else.

Refused before a byte of data is read: soft and external links anywhere on the path, external
storage, virtual datasets, unknown filters, dtypes that are not plain numbers, shapes too large to
be MRI or far larger than what is stored.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator
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
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32,
            h5py.h5z.FILTER_LZF}  # fmt: skip
_READ_AGAIN = "copy the file again from its source"


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
        try:
            return np.asarray(self._dataset[selection])
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            where = f"{self._path}: dataset '{self._name}'"
            raise DataError(where, f"damaged data ({error})", "", _READ_AGAIN) from None


class GuardedFile:
    """An open HDF5 file whose items are checked one by one."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file

    def names(self) -> list[str]:
        """Names at the top of the file, at most 1,000."""
        names = []
        for name in self._file:
            names.append(str(name))
            if len(names) > 1000:
                raise DataError(self.path, "over 1,000 items", "an MRI file", "")
        return names

    def __contains__(self, name: str) -> bool:
        # the link alone is looked up; `in` on the file would follow it
        return bool(self._file.id.links.exists(name.encode()))

    def dataset(self, name: str) -> GuardedDataset:
        """A numeric dataset at the top of the file.

        Raises:
            DataError: It is missing (the nearest name is proposed) or refused.
        """
        where = f"{self.path}: dataset '{name}'"
        if name not in self:
            names = self.names()
            do = nearest(name, names)
            raise DataError(where, f"only {', '.join(names) or 'nothing'}", f"'{name}'", do)
        if not isinstance(self._file.get(name, getlink=True), h5py.HardLink):
            raise DataError(where, "a link", "data in the file itself", "store a copy")
        dataset = self._file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(where, "a group", "a dataset", "check how the file was written")
        _check_storage(where, dataset)
        _check_dtype(where, dataset)
        _check_size(where, dataset)
        return GuardedDataset(self.path, name, dataset)

    def number(self, name: str) -> float | None:
        """A numeric attribute of the file, or None if there is none.

        Raises:
            DataError: It is there but is no single number.
        """
        attribute = self._attribute(name)
        if attribute is None:
            return None
        if attribute.get_type().get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
            where = f"{self.path}: attribute '{name}'"
            raise DataError(where, "no number", "a number", "write it as a float")
        values = np.ravel(self._file.attrs[name])
        if values.size != 1:
            where = f"{self.path}: attribute '{name}'"
            raise DataError(where, f"{values.size} values", "one number", "write it as a float")
        return float(values[0])

    def text(self, name: str) -> str | None:
        """A text attribute of fixed length, or None if there is none of that kind.

        Text of variable length is not read: damaged files crash the library there.
        """
        attribute = self._attribute(name)
        if attribute is None or attribute.get_type().get_class() != h5py.h5t.STRING:
            return None
        if attribute.get_type().is_variable_str():
            return None
        value = np.ravel(self._file.attrs[name])
        return bytes(value[0]).decode(errors="replace") if value.size == 1 else None

    def _attribute(self, name: str) -> Any:
        if not h5py.h5a.exists(self._file.id, name.encode()):
            return None
        attribute = h5py.h5a.open(self._file.id, name.encode())
        if attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
            where = f"{self.path}: attribute '{name}'"
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
    if not path.exists():
        raise DataError(path, "no such file", "an HDF5 file", "check the path")
    if path.is_dir():
        raise DataError(path, "a folder", "an HDF5 file", "name a file in it")
    try:
        return h5py.File(path, "r")
    except PermissionError:
        raise DataError(path, "no permission to read", "", "chmod it") from None
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
            do = "wait until its writer has closed it"
            raise DataError(path, "a locked file, being written", "", do) from None
        size = path.stat().st_size
        found = "an empty file" if size == 0 else f"no readable HDF5 in {size} bytes ({error})"
        raise DataError(path, found, "an HDF5 file", _READ_AGAIN) from None


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
        found = f"a compound of {', '.join(dtype.names or ())}"
        raise DataError(where, found, "complex numbers (r, i)", "write it as numpy complex64")
    if dtype.kind not in "buifc" or dtype.hasobject:
        raise DataError(where, f"dtype {dtype}", "plain numbers", "write it as a numeric array")


def _check_size(where: str, dataset: h5py.Dataset) -> None:
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > MAX_BYTES:
        found = f"shape {dataset.shape}, {declared >> 30} GiB"
        raise DataError(where, found, f"at most {MAX_BYTES >> 30} GiB", "split the volume")
    if declared > RATIO_FROM and declared > MAX_RATIO * stored:
        found = f"{declared >> 20} MiB declared and {stored >> 10} KiB stored"
        raise DataError(where, found, "data that does not compress so far", _READ_AGAIN)
