"""`dealias check` of a whole data set: every file is looked at, whatever is wrong with another."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from dealias.cli.cmd_check import check as command
from dealias.data import inspect
from dealias.data.inspect import check, check_file
from dealias.errors import DataError

Spoil = Callable[..., Path]
Complaints = Callable[..., list[tuple[str, str, str]]]


def test_a_sound_data_set_passes(root: Path, complaints: Complaints) -> None:
    findings = check(root)
    assert complaints(findings) == []
    said = [(one.item, one.found) for one in findings if one.file == "all"]
    assert said == [
        ("masks of leaderboard", "1 snu X4"), ("masks of train", "2 snu X4"),
        ("masks of val", "1 snu X4"), ("masks", "4 snu X4"),
    ]  # fmt: skip
    said = [one.found for one in findings if one.item == "k-space"]
    shape = "3 slices, 4 coils, 28 x 24"
    assert said[0] == f"{shape}, masked, snu X4 (R 3.43), 2 ACS lines"  # the leaderboard's
    assert said[1:] == [f"{shape}, full, snu X4 (R 3.43), 2 ACS lines"] * 3


def test_a_missing_partner_is_named_and_shifts_no_other_pair(root: Path) -> None:
    (root / "train" / "image" / "brain_acc4_0.h5").unlink()
    found = [one for one in check(root) if one.level != "PASS"]
    assert [(one.item, one.found) for one in found] == [("pair", "no image/brain_acc4_0.h5")]


def test_a_part_of_a_data_set_may_be_checked_alone(root: Path, complaints: Complaints) -> None:
    folder = root / "train" / "kspace"
    assert complaints(check(folder / "brain_acc4_0.h5")) == []
    assert complaints(check(folder)) == []
    for images in (root / "train" / "image", root / "train" / "image" / "brain_acc4_0.h5"):
        with pytest.raises(DataError, match="found images alone; expected files of k-space"):
            check(images)


def test_rubbish_beside_the_data_is_a_finding_or_nothing(
    root: Path, complaints: Complaints
) -> None:
    folder = root / "train" / "kspace"
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._brain_acc4_0.h5").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    assert complaints(check(root)) == []
    (folder / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 500)
    (root / "train" / "image" / "broken.h5").write_bytes(b"")
    found = complaints(check(root))
    assert [one[0] for one in found] == ["FAIL"]


CHILD = """
import os, time, types
def check_file(file):
    if file.name == "kills.h5":
        os._exit(11)
    if file.name == "hangs.h5":
        time.sleep(60)
    return types.SimpleNamespace(file=file, findings=(), id=None, family=None, patient=None)
"""
"""What children run instead; it imports next to nothing, so that only a hang takes seconds."""


class Slow(ProcessPoolExecutor):
    """Children have died before the next file is handed out."""

    def submit(self, *given: Any, **more: Any) -> Future[Any]:
        future = super().submit(*given, **more)
        time.sleep(0.4)
        return future


@pytest.mark.parametrize(
    ("bad", "pool"),
    [(["hangs.h5"], ProcessPoolExecutor), (["kills.h5", "m/kills.h5"], ProcessPoolExecutor),
     (["kills.h5", "m/kills.h5"], Slow)],
)  # fmt: skip
def test_a_file_that_kills_or_hangs_its_child_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[str],
    pool: type[ProcessPoolExecutor],
) -> None:  # fmt: skip
    monkeypatch.setattr(inspect, "ProcessPoolExecutor", pool)
    (tmp_path / "check_or_die.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "check_or_die", raising=False)
    monkeypatch.setattr(inspect, "check_file", importlib.import_module("check_or_die").check_file)
    monkeypatch.setattr(inspect, "TIMEOUT_SECONDS", 2)
    data = tmp_path / "data"
    for name in ("a.h5", *bad, "z.h5"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).touch()
    done: list[int] = []
    findings = check(data, progress=done.append)
    assert sorted(one.file for one in findings) == sorted(str(data / name) for name in bad)
    assert {one.level for one in findings} == {"FAIL"}
    assert all("crashed or hung" in one.found for one in findings)
    assert sum(done) == len(bad) + 2


def test_an_error_nobody_thought_of_is_a_finding(
    root: Path, monkeypatch: pytest.MonkeyPatch, complaints: Complaints
) -> None:
    def fail(*parts: object, **more: object) -> None:
        raise MemoryError("64 GiB")

    monkeypatch.setattr(inspect, "check_scan", fail)
    found = complaints(check_file(root / "train/kspace/brain_acc4_0.h5").findings)
    assert found == [("FAIL", "file", "MemoryError: 64 GiB")]


def test_the_command_tells_by_its_exit_code(
    root: Path, spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(root)
    said = capsys.readouterr().out
    assert "next: dealias train" in said
    assert "masks of train: 2 snu X4\n" in said
    spoil(lambda file: file["kspace"].__setitem__(2, 0))  # a blank slice is a warning
    command(root)
    with pytest.raises(typer.Exit) as strict:
        command(root, strict=True)
    spoil(lambda file: file["kspace"].__setitem__((1, 0, 3, 3), np.nan))
    with pytest.raises(typer.Exit) as failed:
        command(root, json=tmp_path / "findings.json")
    assert (strict.value.exit_code, failed.value.exit_code) == (3, 3)
    said = capsys.readouterr().out
    assert "NaN or infinity" in said
    assert "1 FAIL" in said
    found = json.loads((tmp_path / "findings.json").read_text())
    bad = [one for one in found if one["level"] == "FAIL"]
    assert [(one["item"], one["expected"]) for one in bad] == [("k-space", "numbers")]
    assert bad[0]["file"].endswith("train/kspace/brain_acc4_0.h5")
