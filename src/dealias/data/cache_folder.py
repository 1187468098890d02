"""The folder a cache is made in: what is there already, and who holds it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path

from dealias.atomic import disk_error
from dealias.data.cached_volume import Job
from dealias.data.keep import Keep
from dealias.data.manifest import MANIFEST, VOLUMES, Manifest, Volume, read_manifest
from dealias.errors import SettingsError

LOCK = "lock"


def manifest_of(out: Path, keep: Keep) -> Manifest | None:
    """The manifest of the cache that is to be finished, if there is one.

    Raises:
        SettingsError: The folder holds something else, or a cache of other rows.
        DataError: The manifest is damaged.
        DiskError: The folder cannot be looked into.
    """
    try:
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise disk_error(error, out / MANIFEST) from error
    there = {name for name in names if not name.startswith(".")} - {LOCK, VOLUMES}
    manifest = read_manifest(out) if MANIFEST in there else None
    if manifest is None and there:
        raise SettingsError("--out", f"files in {out}", "a new or empty folder", "")
    if manifest is not None and manifest.rows != str(keep):
        do = f"choose another --out, or remove {out}"
        raise SettingsError("--out", f"a cache with {manifest.rows}", str(keep), do)
    return manifest


def kept(jobs: Sequence[Job], out: Path, manifest: Manifest | None) -> dict[str, Volume]:
    """Volumes that need not be made again: their source did not change, their file is whole."""
    known = {volume.source: volume for volume in manifest.volumes} if manifest else {}
    found = {}
    for job in jobs:
        volume = known.get(job.source)
        if volume is not None and volume.stamp == job.stamp and _there(out, volume):
            found[job.source] = volume
    return found


def _there(out: Path, volume: Volume) -> bool:
    path = out / volume.file
    return path.is_file() and path.stat().st_size == volume.bytes


def remove_others(out: Path, manifest: Manifest) -> None:
    """Remove volumes whose source is gone from the data set."""
    known = {out / volume.file for volume in manifest.volumes}
    for path in (out / VOLUMES).glob("*.safetensors"):
        if path not in known:
            path.unlink()


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a cache folder; the lock goes with the process, however that ends.

    Raises:
        SettingsError: Another process holds it.
        DiskError: It cannot be written.
    """
    try:
        (out / VOLUMES).mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    except OSError as error:
        raise disk_error(error, out / MANIFEST) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found, do = "another dealias cache writing it", "wait for it"
            raise SettingsError(f"cache '{out}'", found, "", do) from None
        yield
