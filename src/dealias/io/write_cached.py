"""Writing one volume of a cache, slice by slice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from dealias.atomic import replacing
from dealias.faults import fault
from dealias.io.cached_facts import TYPES, Facts

Array = npt.NDArray[Any]


class CachedSlice(NamedTuple):
    """One slice as a cache keeps it.

    Attributes:
        hybrid_CRW: complex64, the kept rows R of an image along the readout, see scan.hybrid.
        peaks_W: float32, of every column of k-space.
        largest: Largest magnitude of k-space.
    """

    hybrid_CRW: Array
    peaks_W: Array
    largest: float


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.digest.update(data)
        self._file.write(data)


def write_cached(
    path: Path,
    facts: Facts,
    slices: Iterable[CachedSlice],
    target_ZHW: Array | None,
    inside_ZHW: Array | None,
) -> str:
    """Write a volume, whole or not at all; the same content gives the same bytes.

    Args:
        path: The file; replaced if it exists.
        facts: Its header.
        slices: All of them, in order; they are taken one by one.
        target_ZHW: float32 (Z, H, W), if there is a target.
        inside_ZHW: Its foreground, bool.

    Returns:
        The file's SHA-256.

    Raises:
        DiskError: The disk is full or may not be written.
    """
    with replacing(path) as partial:
        fault("cache-opened")
        with partial.open("wb") as raw:
            file, peaks, largest = _Hashed(raw), [], []
            file.write(facts.header()[0])
            for one in slices:
                file.write(_bytes("C64", one.hybrid_CRW))
                peaks.append(one.peaks_W)
                largest.append(one.largest)
                fault("cache-half-written")
            file.write(_bytes("F32", np.stack(peaks)))
            file.write(_bytes("F32", np.array(largest)))
            if target_ZHW is not None and inside_ZHW is not None:
                file.write(_bytes("F32", target_ZHW))
                file.write(_bytes("U8", inside_ZHW))
        fault("cache-before-rename")
    fault("cache-after-rename")
    return file.digest.hexdigest()


def _bytes(kind: str, values: Array) -> memoryview:
    return np.ascontiguousarray(values, dtype=TYPES[kind]).data.cast("B")
