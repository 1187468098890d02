"""A cache's manifest: which volumes it holds, and what each file's bytes were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dealias.errors import DataError

MANIFEST, VOLUMES = "manifest.json", "volumes"
MANIFEST_LIMIT = 256 << 20


class Volume(BaseModel):
    """One volume of a cache.

    Attributes:
        source: Path of its k-space file below the data set, with forward slashes.
        stamp: Sizes and times of its source files, which tell whether they changed since.
        id: The scan's content hash.
        header: Digest of the cached file's header, which is compared whenever it is opened.
        bytes: Size of the cached file.
        sha256: Of the cached file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    stamp: tuple[int, ...]
    id: str
    header: str
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """The cached file below the cache."""
        return file_of(self.source)


class Manifest(BaseModel):
    """What a cache holds.

    Attributes:
        dealias_cache: Version of the format.
        made_with: Versions of dealias and torch; another torch may transform to other last bits.
        rows: Which rows were kept, as it was asked for ("margin 16").
        complete: Whether all volumes are there.
        planned: How many there are to be.
        volumes: Those that are there, in the data set's order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dealias_cache: Literal[1] = 1
    made_with: str
    rows: str
    complete: bool
    planned: int
    volumes: tuple[Volume, ...]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a cache folder; None if it is another tool's file of that name.

    Raises:
        DataError: It is damaged.
    """
    path = folder / MANIFEST
    expected, do = "a manifest that dealias cache wrote", "make the cache again"
    if path.stat().st_size > MANIFEST_LIMIT:
        return None
    text = path.read_bytes()
    if b'"dealias_cache"' not in text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(path, "damaged JSON", expected, do) from None
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(path, found, expected, do) from None


def file_of(source: str) -> str:
    """Where a volume's rows lie below the cache; source names may be too long or odd for a file."""
    return f"{VOLUMES}/{hashlib.sha256(source.encode()).hexdigest()[:16]}.safetensors"
