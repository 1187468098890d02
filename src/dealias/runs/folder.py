"""A run folder: its layout, its lock, its log."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dealias.atomic import write_bytes, write_json
from dealias.errors import DiskError, SettingsError, printable
from dealias.runs.ending import ending, was_asked

RUN, SETTINGS, LOG, LOCK = "run.json", "settings.yaml", "log.txt", "lock.json"
FINISHED = ("finished.json", "model/bundle.json")


class RunFolder:
    """RUN/ with run.json, settings.yaml, log.txt, main/ and model/.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.main = path / "main"
        self.model = path / "model"

    @classmethod
    def create(cls, path: Path, facts: dict[str, Any], settings: str) -> RunFolder:
        """Make a new run folder.

        Raises:
            SettingsError: The folder holds a run, or anything else.
            DiskError: It cannot be written.
        """
        if (path / RUN).exists():
            do = f"dealias train --resume {path}"
            raise SettingsError("--out", f"a run in {path}", "a new folder", do)
        if path.exists() and any(path.iterdir()):
            raise SettingsError("--out", f"files in {path}", "a new or empty folder", "")
        folder = cls(path)
        write_bytes(path / SETTINGS, settings.encode())
        write_json(path / RUN, facts)
        if "stages" not in facts:
            folder.main.mkdir(exist_ok=True)
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run folder.

        Raises:
            SettingsError: It is none.
        """
        if not (path / RUN).is_file():
            do = "start one with dealias train RECIPE --data DATA --out RUN"
            raise SettingsError(f"run '{path}'", "no run.json", "a run folder", do)
        return cls(path)

    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        value = json.loads((self.path / RUN).read_text())
        return dict(value)

    def record(self, **facts: Any) -> None:
        """Change some of run.json."""
        write_json(self.path / RUN, {**self.facts(), **facts})

    def log(self, text: str) -> None:
        """Append a line with the time to log.txt."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with (self.path / LOG).open("a") as file:
            file.write(f"{now} {printable(text)}\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: one process trains in it at a time.

        Raises:
            SettingsError: Another living process holds it.
        """
        path = self.path / LOCK
        mine = {"pid": os.getpid(), "host": socket.gethostname()}
        while True:
            try:
                with path.open("x") as file:
                    json.dump(mine, file)
                break
            except FileExistsError:
                self._take_over(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Keep in log.txt and run.json how what is done inside ended, if it did not finish.

        run.json has it under "ended": {"state": "stopped" or "failed", "reason": ...}; a run that
        goes on has it no more. A process that is killed tells nothing: its lock stays.
        """
        self._end(None)
        try:
            yield
        except BaseException as error:
            state = "stopped" if was_asked(error) else "failed"
            # the disk itself may be the reason
            with contextlib.suppress(OSError, DiskError):
                self.log(f"{state}: {ending(error)}")
                self._end({"state": state, "reason": ending(error)})
            raise

    def _end(self, ended: dict[str, str] | None) -> None:
        there = (self.path / RUN).is_file()
        if there and self.facts().get("ended") != ended:
            self.record(ended=ended)

    @property
    def held(self) -> bool:
        """Whether a process trains in it, as far as can be told from here."""
        return (self.path / LOCK).exists() and not _gone(*self._holder())

    def _holder(self) -> tuple[int, str]:
        """Process and host that the lock names; (0, "") if it cannot be read."""
        try:
            held = json.loads((self.path / LOCK).read_text())
            return int(held["pid"]), str(held["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _take_over(self, path: Path) -> None:
        """Remove the lock of a process that is gone; refuse otherwise."""
        pid, host = self._holder()
        if _gone(pid, host):
            self.log(f"removed the lock of process {pid}, which is gone")
            path.unlink(missing_ok=True)
            return
        do = f"wait for it, or remove {path} if it is gone"
        raise SettingsError(f"run '{self.path}'", f"in use by process {pid} on {host}", "", do)


class StageFolder(RunFolder):
    """RUN/STAGE or RUN/STAGE/CELL: a run folder whose training's files lie beside its run.json.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.main = path

    @property
    def begun(self) -> bool:
        """Whether it holds a training."""
        return (self.path / RUN).is_file()

    @property
    def finished(self) -> bool:
        """Whether its training came to its last epoch, and its model was written."""
        return all((self.path / name).is_file() for name in FINISHED)

    def begin(self, facts: dict[str, Any], settings: str) -> None:
        """Write its settings, then run.json, which says that it is a stage's folder.

        Raises:
            DiskError: It cannot be written.
        """
        write_bytes(self.path / SETTINGS, settings.encode())
        write_json(self.path / RUN, facts)


def _gone(pid: int, host: str) -> bool:
    """Whether a process is known to have ended: one of this machine."""
    return bool(pid) and host == socket.gethostname() and not alive(pid)


def alive(pid: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
