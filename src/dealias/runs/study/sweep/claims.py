"""Which worker has which trial, in a folder that all of them see.

A claim is a file that only one can create. Taking over from a worker that is gone creates the next
one of the same trial (0003.0, 0003.1, ...), again a file that only one can create, so that nothing
is ever removed under somebody. A living worker touches its claim now and then.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

from dealias.atomic import write_json
from dealias.errors import DiskError
from dealias.runs.folder import alive

BEAT = 30.0
"""Seconds between two touches of a claim."""
STALE = 600.0
"""Seconds after which a claim that nobody touches is free, wherever its worker ran."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Claim:
    """A trial that is this worker's, as long as the `with` lasts.

    Args:
        path: Its file.
        number: Of the trial.
        inherited: Whether another worker had it before, and is gone.
    """

    def __init__(self, path: Path, number: int, inherited: bool) -> None:
        self.path, self.number, self.inherited = path, number, inherited
        self._done = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Claim:
        self._beating.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._beating.join()
        # where the disk is full, the claim is free when this process is gone
        with contextlib.suppress(DiskError):
            write_json(self.path, {"released": True})

    @property
    def lost(self) -> bool:
        """Whether another worker has taken over, believing that this one is gone."""
        _, generation = _parts(self.path)
        return self.path.with_name(f"{self.number:04d}.{generation + 1}").exists()

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self.path)


class Claims:
    """The claims of a sweep.

    Args:
        folder: OUT/claims.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, number: int) -> Claim | None:
        """Claim a trial.

        Args:
            number: Of the trial.

        Returns:
            The claim; None where a living worker has it.
        """
        newest = self._newest(number)
        generation, inherited = 0, False
        if newest is not None:
            held = _content(newest)
            if not self._free(newest, held):
                return None
            generation, inherited = _parts(newest)[1] + 1, not held.get("released", False)
        path = self.folder / f"{number:04d}.{generation}"
        try:
            with path.open("x") as file:
                json.dump({"pid": os.getpid(), "machine": _machine()}, file)
        except FileExistsError:
            return None  # another one was faster
        return Claim(path, number, inherited)

    def _newest(self, number: int) -> Path | None:
        found = self.folder.glob(f"{number:04d}.*")
        return max((one for one in found if _parts(one)[1] >= 0), key=_parts, default=None)

    def _free(self, path: Path, held: dict[str, Any]) -> bool:
        if held.get("released", False):
            return True
        gone = held.get("machine") == _machine() and not alive(int(held.get("pid", 0)))
        return gone or self._now() - path.stat().st_mtime > STALE

    def _now(self) -> float:
        """The time by the clock that dates the claims: the file server's, not this machine's."""
        probe = self.folder / f"now-{socket.gethostname()}-{os.getpid()}"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return now


def _parts(path: Path) -> tuple[int, int]:
    number, _, generation = path.name.partition(".")
    if not (number.isdigit() and generation.isdigit()):
        return -1, -1  # a file that is half written
    return int(number), int(generation)


def _content(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}  # somebody is just writing it


def _machine() -> str:
    """This machine since it was started; a process number means nothing on another one."""
    boot = _BOOT.read_text().strip() if _BOOT.is_file() else ""
    return f"{socket.gethostname()} {boot}"
