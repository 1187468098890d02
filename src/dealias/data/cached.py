"""A cache of a data set: a manifest, and one file of readout rows for each volume.

    CACHE/manifest.json  volumes/<16 digits>.safetensors

The manifest knows where each volume lay in the data set, so a cache is asked for splits and
sub-folders as if it were that data set, though no such folders exist in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dealias.atomic import sha256
from dealias.data.manifest import MANIFEST, Manifest, Volume, read_manifest
from dealias.errors import DataError
from dealias.io.cached import REMAKE, open_cached, read_facts
from dealias.scan.scan import Scan


@dataclass(frozen=True)
class Cache:
    """A cache folder, or a part of one.

    Attributes:
        root: The folder with the manifest.
        manifest: What it holds.
        inside: The part that is meant, as a folder or file of the data set it was made from.
    """

    root: Path
    manifest: Manifest
    inside: PurePosixPath = PurePosixPath()

    def finished(self) -> Cache:
        """The cache itself, if it is whole.

        Raises:
            DataError: Volumes are still to be made.
        """
        if not self.manifest.complete:
            found = f"a cache with {len(self.manifest.volumes)} of {self.manifest.planned} volumes"
            raise DataError(self.root, found, "all", "run the same dealias cache again")
        return self

    def below(self, part: str = "") -> list[Volume]:
        """Volumes below a folder of the data set (or the one of that path), in order."""
        folder = self.inside / part
        return [volume for volume in self.manifest.volumes if _within(volume.source, folder)]

    def split(self, name: str) -> list[Volume]:
        """Volumes of a split, chosen by the rules that `data.catalogue.open_split` has for files.

        Raises:
            DataError: There are none.
        """
        folder, _, pattern = name.partition("/")
        for candidate in (folder, f"multicoil_{folder}"):
            named = [
                volume
                for volume in self.below(candidate)
                if PurePosixPath(volume.source).match(f"{pattern}.h5")
            ]
            found = self.below(f"{candidate}/{pattern}") or named
            if found:
                return found
        where = f"{self.root / self.inside}: split '{name}'"
        raise DataError(where, "nothing in the cache", "a split that was cached", "set data.train")

    def open(self, volume: Volume) -> Scan:
        """Open one volume; nothing large is read.

        Raises:
            DataError: The file is missing, damaged, or not the one that the manifest tells of.
        """
        path = self.root / volume.file
        return open_cached(path, self.root / volume.source, volume.header)


def find_cache(path: Path) -> Cache | None:
    """The cache that a path names, or names a part of; None if it names something else.

    Args:
        path: A cache folder, or a path below one that is not on disk (CACHE/val).

    Raises:
        DataError: There is a manifest of a cache and it cannot be used.
    """
    try:
        places = [path] if path.exists() else [path, *path.parents]
        for place in places:
            if (place / MANIFEST).is_file():
                manifest = read_manifest(place)
                inside = PurePosixPath(path.relative_to(place).as_posix())
                return Cache(place, manifest, inside) if manifest else None
    except OSError:
        return None  # whoever opens it as a file will say what is wrong
    return None


def verify(cache: Cache, volume: Volume) -> None:
    """Read a cached file from end to end and compare its hash.

    Raises:
        DataError: It is not the file that was written.
    """
    path = cache.root / volume.file
    read_facts(path)
    if sha256(path) != volume.sha256:
        found = "other bytes than were written"
        raise DataError(path, found, f"SHA-256 {volume.sha256[:12]}...", REMAKE)


def _within(source: str, folder: PurePosixPath) -> bool:
    path = PurePosixPath(source)
    return path == folder or folder in path.parents or folder == PurePosixPath()
