"""The same scan or the same person in several files: a leak between sets is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dealias.data.inspect import check, check_file

Spoil = Callable[..., Path]
Complaints = Callable[..., list[tuple[str, str, str]]]


def test_a_scan_in_train_and_val_is_a_leak_under_any_name(
    root: Path, complaints: Complaints
) -> None:
    for kind in ("kspace", "image"):
        here = root / "train" / kind / "brain_acc4_0.h5"
        shutil.copy(here, root / "val" / kind / "brain_acc4_77.h5")
    found = complaints(check(root))
    assert ("FAIL", "leak") in [one[:2] for one in found]
    assert any("brain_acc4_77.h5" in one[2] for one in found)


def test_a_copy_within_one_set_is_a_warning(root: Path, complaints: Complaints) -> None:
    for kind in ("kspace", "image"):
        folder = root / "train" / kind
        shutil.copy(folder / "brain_acc4_0.h5", folder / "again.h5")
    assert [one[:2] for one in complaints(check(root))] == [("WARN", "duplicate")]


def test_a_person_in_train_and_val_is_a_warning_that_names_nobody(
    root: Path, spoil: Spoil, complaints: Complaints
) -> None:
    spoil(lambda file: file.attrs.__setitem__("patient_id", np.bytes_("p2")))
    found = complaints(check(root))
    assert [one[:2] for one in found] == [("WARN", "leak")]
    assert "brain_acc4_2.h5" in found[0][2]
    assert "p2" not in found[0][2]


def test_folders_above_the_data_set_name_no_set(
    root: Path, tmp_path: Path, complaints: Complaints
) -> None:
    """A data set in /home/train/val is neither."""
    moved = root.rename(tmp_path / "train")
    (moved / "val").rename(moved / "kept")
    (moved / "train").rename(moved / "val")
    inner = moved.rename(tmp_path / "new")
    outer = tmp_path / "train" / "val"
    outer.parent.mkdir()
    inner.rename(outer)
    board = outer / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    assert complaints(check_file(board).findings) == []
    (outer / "val").rename(outer / "train")
    for kind in ("kspace", "image"):
        (outer / "val" / kind).mkdir(parents=True)
        shutil.copy(outer / "train" / kind / "brain_acc4_0.h5", outer / "val" / kind)
    found = complaints(check(outer))
    assert [one[:2] for one in found][:1] == [("FAIL", "leak")]
