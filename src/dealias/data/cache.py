"""Making a cache: every slice transformed along the readout and cropped, once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

import dealias
from dealias.atomic import remove_stale, write_json
from dealias.data.cache_folder import kept, locked, manifest_of, remove_others
from dealias.data.cached import find_cache
from dealias.data.cached_volume import Job, make_volume, plan_volume
from dealias.data.catalogue import image_of, is_file, kspace_files
from dealias.data.keep import Keep
from dealias.data.manifest import MANIFEST, VOLUMES, Manifest, Volume
from dealias.data.pool import each
from dealias.errors import DataError, DiskError, SettingsError
from dealias.faults import fault
from dealias.sizes import said_bytes

SPARE = 16 << 20
"""Bytes left free on the disk, for the manifest and whoever else writes."""
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What a cache will hold.

    Attributes:
        jobs: Its volumes, in the data set's order.
        keep: Which rows.
    """

    jobs: tuple[Job, ...]
    keep: Keep

    @property
    def slices(self) -> int:
        """In all volumes."""
        return sum(job.slices for job in self.jobs)

    @property
    def bytes(self) -> int:
        """What the cache will measure."""
        return sum(job.bytes for job in self.jobs)

    @property
    def whole(self) -> int:
        """What the k-space measures that it stands for."""
        return sum(job.whole for job in self.jobs)


def plan_cache(data: Path, keep: Keep) -> Plan:
    """Look at every volume of a data set.

    Args:
        data: A file, a folder of files, or a whole data set.
        keep: Which rows.

    Raises:
        DataError: A file is refused, or the data are a cache already.
        SettingsError: Fewer rows than a target has.
    """
    if find_cache(data) is not None:
        raise DataError(data, "a cache", "the data set that it was made from", "")
    root, files = (data.parent, [data]) if is_file(data) else (data, kspace_files(data))
    jobs = (
        plan_volume(file.relative_to(root).as_posix(), file, image_of(file), keep) for file in files
    )
    return Plan(tuple(jobs), keep)


def make_cache(
    plan: Plan,
    out: Path,
    *,
    limit: int | None = None,
    workers: int = 0,
    progress: Advance = lambda slices: None,
) -> Manifest:
    """Make a cache, or finish one that was interrupted: volumes that are whole stay.

    Args:
        plan: Of the same data and rows as before, where the cache is to be finished.
        out: The cache folder; new, empty, or an unfinished cache.
        limit: Most bytes it may measure, or None.
        workers: Processes; 0 works in this one.
        progress: Called with the number of slices done since the last call.

    Returns:
        The manifest of the finished cache.

    Raises:
        SettingsError: It would exceed the limit, or `out` holds something else or is in use.
        DiskError: The disk has no room for it, or cannot be written.
        DataError: A file cannot be used; volumes that are finished stay.
        HealthError: A worker died.
    """
    if limit is not None and plan.bytes > limit:
        do = "lower --margin, cache a part of the data (DATA/train), or raise --limit"
        raise SettingsError(
            "--limit", f"a cache of {said_bytes(plan.bytes)}", f"at most {said_bytes(limit)}", do
        )
    before = manifest_of(out, plan.keep)
    _refuse_full_disk(plan, kept(plan.jobs, out, before), out)
    with locked(out):
        # once more: whoever held the lock may have finished some
        before = manifest_of(out, plan.keep)
        done = kept(plan.jobs, out, before)
        if before is not None and before.complete and before.volumes == tuple(done.values()):
            progress(plan.slices)
            return before
        remove_stale(out)
        remove_stale(out / VOLUMES)
        _save(plan, out, done, complete=False)
        left = [job for job in plan.jobs if job.source not in done]
        progress(plan.slices - sum(job.slices for job in left))
        _make(plan, out, left, done, workers, progress)
        manifest = _save(plan, out, done, complete=True)
        remove_others(out, manifest)
        return manifest


def _make(
    plan: Plan, out: Path, left: Sequence[Job], done: dict[str, Volume], workers: int,
    progress: Advance,
) -> None:  # fmt: skip
    """Make what is left; each volume enters the manifest once its file is whole."""
    alone = workers < 1
    # a function that draws a bar cannot go to another process: there, volumes are counted
    work = partial(make_volume, root=out, advance=progress if alone else _ignore)
    with contextlib.closing(each(work, left, workers)) as made:
        for job, volume in made:
            done[job.source] = volume
            _save(plan, out, done, complete=False)
            fault("cache-volume-done")
            progress(0 if alone else job.slices)


def _ignore(slices: int) -> None:
    pass


def _save(plan: Plan, out: Path, done: dict[str, Volume], complete: bool) -> Manifest:
    volumes = tuple(done[job.source] for job in plan.jobs if job.source in done)
    made_with = f"dealias {dealias.__version__}, torch {torch.__version__}"
    manifest = Manifest(
        made_with=made_with,
        rows=str(plan.keep),
        complete=complete,
        planned=len(plan.jobs),
        volumes=volumes,
    )
    write_json(out / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _refuse_full_disk(plan: Plan, there: dict[str, Volume], out: Path) -> None:
    needed = sum(job.bytes for job in plan.jobs if job.source not in there)
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed and needed + SPARE > free:
        found, do = (
            f"{said_bytes(free)} free on the disk",
            "lower --margin, or choose another --out",
        )
        raise DiskError(out, found, f"{said_bytes(needed)} for the cache", do)
