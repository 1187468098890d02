"""kill -9 anywhere: run again, a cache is the very bytes of the undisturbed one.

Finished volumes stay, half-written ones are made again. Slices are counted from 1, three a volume.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_data
from dealias.data.keep import Keep
from dealias.data.manifest import read_manifest
from dealias.errors import DataError

Start = Callable[..., Any]
pytestmark = pytest.mark.subprocess
VOLUMES = 4


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "cache"
    make_cache(plan_cache(data, Keep(0)), out)
    return content(out)


@pytest.fixture
def cache(start: Start, data: Path, tmp_path: Path) -> Start:
    """cache(workers, fault=...) runs the command with tmp_path/cache as its --out."""

    def go(workers: int = 0, **more: Any) -> Any:
        out = tmp_path / "cache"
        return start("cache", data, "--out", out, "--margin", 0, "--workers", workers, **more)

    return go


def finished(out: Path) -> dict[Path, int]:
    """Volumes that the manifest knows, and when they were written."""
    manifest = read_manifest(out)
    assert manifest is not None
    paths = [out / volume.file for volume in manifest.volumes]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.parametrize(
    ("where", "done"),
    [("cache-opened:1", 0), ("cache-half-written:5", 1), ("cache-before-rename:3", 2),
     ("cache-after-rename:2", 1), ("cache-volume-done:3", 3), ("cache-volume-done:4", 4)],
)  # fmt: skip
def test_killed_at(
    where: str, done: int, cache: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "cache"
    killed = cache(fault=f"{where}:SIGKILL")
    assert killed.wait() == -signal.SIGKILL, killed.err
    with pytest.raises(DataError, match=f"a cache with {done} of {VOLUMES} volumes"):
        open_data(out)
    before = finished(out)
    assert len(before) == done
    again = cache()
    assert again.wait() == 0, again.err
    assert content(out) == undisturbed
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())


def test_a_worker_that_dies_ends_it_with_one_line(
    cache: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    dead = cache(workers=1, fault="cache-half-written:5:SIGKILL")
    assert dead.wait() == 5, dead.err
    assert dead.err.splitlines()[-1].startswith("error: a worker: found it died")
    assert "Traceback" not in dead.err
    again = cache(workers=2)
    assert again.wait() == 0, again.err
    assert content(tmp_path / "cache") == undisturbed


def test_workers_do_not_outlive_the_command(cache: Start) -> None:
    killed = cache(workers=1, fault="cache-volume-done:1:SIGKILL")
    assert killed.wait() == -signal.SIGKILL, killed.err
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(killed.process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(killed.process.pid, signal.SIGKILL)
    pytest.fail("its workers went on")


def test_a_full_disk_stops_it_and_finished_volumes_stay(
    cache: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    stopped = cache(fault="cache-opened:3:SIGKILL")
    assert stopped.wait() == -signal.SIGKILL
    out = tmp_path / "cache"
    before = finished(out)
    assert len(before) == 2
    full = cache(limit=max(map(len, undisturbed.values())) // 2)
    assert full.wait() == 6, full.err
    assert "disk full or file too large" in full.err
    assert "Traceback" not in full.err
    assert finished(out) == before
    assert not list(out.rglob(".partial-*"))
    assert cache().wait() == 0
    assert content(out) == undisturbed
