"""Run folders: one run each, one process at a time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from dealias.errors import SettingsError
from dealias.runs.folder import RunFolder
from dealias.runs.signals import stopping


def test_a_folder_with_a_run_or_files_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a", {"recipe": "demo"}, "name: demo\n")
    with pytest.raises(SettingsError, match="train --resume"):
        RunFolder.create(tmp_path / "a", {}, "")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("")
    with pytest.raises(SettingsError, match="new or empty"):
        RunFolder.create(tmp_path / "b", {}, "")
    with pytest.raises(SettingsError, match="no run.json"):
        RunFolder.open(tmp_path / "b")


def test_two_processes_cannot_hold_one_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", {}, "")
    with folder.locked(), pytest.raises(SettingsError, match=f"in use by process {os.getpid()}"):
        folder.locked().__enter__()
    with folder.locked():
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    import socket
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    folder = RunFolder.create(tmp_path / "a", {}, "")
    held = {"pid": child.pid, "host": socket.gethostname()}
    (folder.path / "lock.json").write_text(json.dumps(held))
    with folder.locked():
        assert json.loads((folder.path / "lock.json").read_text())["pid"] == os.getpid()
    assert "is gone" in (folder.path / "log.txt").read_text()


def test_the_lock_of_another_host_is_not_ours_to_judge(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", {}, "")
    (folder.path / "lock.json").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(SettingsError, match="on elsewhere"), folder.locked():
        pass


def test_signals_become_reasons_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as stop:
        assert stop() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_log_cannot_be_spoofed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", {}, "")
    folder.log("name\nwith a line of its own\x1b[2J")
    assert len((folder.path / "log.txt").read_text().splitlines()) == 1
