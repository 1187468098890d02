"""One volume of a cache: a safetensors file whose rows are memory-mapped, not read."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor

from dealias.errors import DataError
from dealias.io.cached_facts import TYPES, Facts
from dealias.scan.hybrid import Hybrid, Rows, refuse_unless_kept
from dealias.scan.scan import Geometry, ImageKind, Scan

Array = npt.NDArray[Any]
HEADER_LIMIT = 16 << 20
REMAKE = "remove it, then run the same dealias cache again"


@dataclass(frozen=True)
class CachedVolume:
    """Reads one volume of a cache; maps the file anew at each call, so it is safe in any process.

    Attributes:
        path: The file.
        kspace_path: Where the k-space would lie if the cache were the data set it was made from.
        facts: Its header.
    """

    path: Path
    kspace_path: Path
    facts: Facts

    @property
    def id(self) -> str:
        """The scan's content hash."""
        return self.facts.id

    @property
    def rows(self) -> Rows:
        """[start, stop) of the readout that is kept."""
        return self.facts.rows

    @property
    def largest(self) -> float:
        """Largest magnitude of the middle slice's k-space."""
        return float(self._map("largest")[self.facts.shape[0] // 2])

    @property
    def maximum(self) -> float | None:
        """Maximum of the target over the volume, or None."""
        return self.facts.maximum

    def hybrid(self, slices: Sequence[int], rows: Rows) -> tuple[Tensor, Hybrid]:
        """Rows of some slices, (S, C, rows, W) complex64; one whole slice is not even copied."""
        kept, encoded = self.facts.rows, self.facts.shape[2]
        refuse_unless_kept(self.facts.name, kept, rows, encoded)
        window = slice(rows[0] - kept[0], rows[1] - kept[0])
        stored_ZCHW = self._map("hybrid")
        parts = [stored_ZCHW[z : z + 1, :, window] for z in slices]
        data_SCHW = np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])
        peaks_SW = torch.from_numpy(self._map("peaks")[list(slices)])
        return torch.from_numpy(data_SCHW), Hybrid(rows, encoded, peaks_SW)

    def foreground(self, z: int, threshold: float) -> Array | None:
        """The foreground of a slice, (H, W) bool; None if made with another threshold."""
        if threshold != self.facts.threshold or self.facts.maximum is None:
            return None
        return self._map("foreground")[z].astype(bool)

    def kspace(self, z: slice) -> Array:
        """There is none.

        Raises:
            DataError: Always.
        """
        found = "a cache, which holds rows of an image along the readout"
        do = "use the files that the cache was made from"
        raise DataError(self.facts.name, found, "k-space", do)

    def image(self, kind: ImageKind, z: slice) -> Array | None:
        """(Z, H, W) float32: the target, stored or made of full k-space; no other kind is kept."""
        if kind != "target" or self.facts.maximum is None:
            return None
        return np.array(self._map("target")[z])

    @cached_property
    def _starts(self) -> dict[str, int]:
        return self.facts.header()[1]

    @cached_property
    def _bytes(self) -> int:
        return self.facts.bytes()

    def _map(self, name: str) -> Array:
        """An array, mapped copy-on-write: torch wants memory that it may write."""
        check_size(self.path, self._bytes)
        kind, shape = self.facts.arrays()[name]
        start = self._starts[name]
        return np.memmap(self.path, TYPES[kind], mode="c", offset=start, shape=shape)


def check_size(path: Path, expected: int) -> None:
    """Refuse a file of another size: a page that is not there kills the process that reads it.

    Raises:
        DataError: It is missing, or shorter or longer than its header says.
    """
    try:
        found = os.stat(path).st_size  # noqa: PTH116  (a third of the time of Path.stat)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a cached volume", REMAKE) from None
    if found != expected:
        raise DataError(path, f"{found} bytes", f"{expected}", REMAKE)


def read_facts(path: Path) -> Facts:
    """Read a cached volume's header; it must be the very bytes that its facts are written as.

    Raises:
        DataError: It is missing, damaged, or of another kind or size.
    """
    expected = "a volume written by dealias cache"
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            text = file.read(min(length, HEADER_LIMIT))
        said = json.loads(text)["__metadata__"]["dealias_cache"]
        facts = Facts.model_validate_json(said)
        header = facts.header()[0]
    except OSError as error:
        raise DataError(path, error.strerror or str(error), expected, REMAKE) from None
    except (struct.error, ValueError, KeyError, TypeError, ValidationError, RecursionError):
        raise DataError(path, "a damaged header", expected, REMAKE) from None
    if header[8:] != text:
        raise DataError(path, "a damaged header", expected, REMAKE)
    check_size(path, facts.bytes())
    return facts


def open_cached(path: Path, kspace_path: Path, digest: str) -> Scan:
    """Open a cached volume; its arrays are mapped when they are asked for.

    Args:
        path: The file.
        kspace_path: See CachedVolume.
        digest: Of the header that was written.

    Raises:
        DataError: It cannot be used, or its header is another one.
    """
    facts = read_facts(path)
    if facts.digest() != digest:
        raise DataError(path, "another header", "the one that was written", REMAKE)
    source = CachedVolume(path, kspace_path, facts)
    hw = facts.shape[2:]
    return Scan(
        name=facts.name,
        shape=facts.shape,
        mask=facts.mask.mask() if facts.mask else None,
        full=facts.full,
        geometry=Geometry(hw, facts.target_hw, facts.spacing_mm, facts.padding),
        source=source,
        cell=facts.cell,
        data_range=facts.data_range,
        find_boxes=partial(tuple, facts.boxes),
        cached=source,
    )
