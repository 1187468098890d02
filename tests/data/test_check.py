"""`dealias check`: each thing that can be wrong with a data set is found and named."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import typer

from dealias.cli.cmd_check import check as command
from dealias.data import inspect
from dealias.data.findings import Finding
from dealias.data.inspect import check, check_file
from dealias.errors import DataError
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.snu import snu_mask

Spoil = Callable[..., Path]
Change = Callable[[h5py.File], None]


def complaints(findings: list[Finding] | tuple[Finding, ...]) -> list[tuple[str, str, str]]:
    """(level, item, found) of everything that is not PASS."""
    return [(one.level, one.item, one.found) for one in findings if one.level != "PASS"]


def test_a_sound_data_set_passes(root: Path) -> None:
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


def put(value: complex, where: Any = (1, 0, 3, 3)) -> Change:
    def change(file: h5py.File) -> None:
        values = file["kspace"][:]
        values[where] = value
        file["kspace"][:] = values

    return change


def scaled(factor: float) -> Change:
    def change(file: h5py.File) -> None:
        for key in ("kspace", "image_label"):
            if key in file:
                file[key][:] = file[key][:] * np.float32(factor)
        if "max" in file.attrs:
            file.attrs["max"] = np.float32(file.attrs["max"] * factor)

    return change


def masked(file: h5py.File) -> None:
    file["kspace"][:] = file["kspace"][:] * file["mask"][:].astype(bool)


def with_mask(lines: np.ndarray) -> Change:
    def change(file: h5py.File) -> None:
        del file["mask"]
        file["mask"] = lines

    return change


HALF = np.zeros(24)
HALF[::2] = 1
HALF[12] = 0
CASES: dict[str, tuple[Change, str, str, str]] = {
    "NaN in one sample": (put(complex("nan")), "FAIL", "k-space", "NaN or infinity in slice 1"),
    "infinity": (put(complex("inf")), "FAIL", "k-space", "NaN or infinity in slice 1"),
    "only NaN": (put(complex("nan"), ...), "FAIL", "k-space", "NaN or infinity in slice 0, 1, 2"),
    "only zeros": (put(0, ...), "FAIL", "k-space", "only zeros"),
    "a blank slice": (put(0, 2), "WARN", "slices", "blank: 2"),
    "a dead coil": (put(0, (slice(None), 3)), "WARN", "coils", "dead coils: 3"),
    "masked but called full": (masked, "FAIL", "sampling", "k-space that is already masked"),
    "no ACS": (with_mask(HALF), "WARN", "mask", "0 ACS lines"),
    "NaN as a mask": (with_mask(HALF * np.nan), "FAIL", "dataset 'mask'", "values other than"),
    "another width": (with_mask(np.ones(23)), "FAIL", "dataset 'mask'", "shape (23,)"),
    "an empty mask": (with_mask(np.zeros(24)), "FAIL", "dataset 'mask'", "only zeros"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_k_space_is_found(case: str, spoil: Spoil) -> None:
    change, level, item, said = CASES[case]
    found = complaints(check_file(spoil(change)).findings)
    assert any(one[:2] == (level, item) and said in one[2] for one in found), found


@pytest.mark.parametrize(("factor", "level"), [(1e-30, "WARN"), (1e20, "WARN"), (1e3, None)])
def test_an_odd_scale_is_a_warning(spoil: Spoil, factor: float, level: str | None) -> None:
    spoil(scaled(factor), "image")
    found = complaints(check_file(spoil(scaled(factor))).findings)
    assert [one[:2] for one in found] == ([(level, "scale")] if level else [])


def test_a_full_mask_is_no_complaint(spoil: Spoil) -> None:
    assert complaints(check_file(spoil(with_mask(np.ones(24)))).findings) == []


def masked_by(path: Path, lines: np.ndarray) -> None:
    """Put another mask, and k-space that fits it, where the leaderboard's was."""
    with h5py.File(path, "a") as file:
        with_mask(lines)(file)
        put(0, (..., lines == 0))(file)
        values = file["kspace"][:]
        values[..., (lines == 1) & (values == 0).all((0, 1, 2))] = 1e-6
        file["kspace"][:] = values


LATTICE = equispaced_mask(24, 4, 0.17, 1).lines.astype(float)
BOARD = "leaderboard/acc4/kspace/brain_acc4_3.h5"


@pytest.mark.parametrize(
    ("lines", "found", "do"),
    [
        (
            snu_mask(24, 8).lines.astype(float),
            "snu X8",
            "(masks.kind=snu masks.accelerations=[4,8])",
        ),
        (LATTICE, "equispaced X4", "(masks.kind=equispaced masks.accelerations=[4])"),
    ],
)
def test_masks_that_training_has_none_of_are_a_warning(
    root: Path, lines: np.ndarray, found: str, do: str
) -> None:
    masked_by(root / BOARD, lines)
    one, *others = [one for one in check(root) if one.level != "PASS"]
    assert not others
    assert (one.level, one.file, one.item) == ("WARN", str(root / BOARD), "masks")
    assert one.found == f"leaderboard has 1 {found}"
    assert one.expected == "rules that training has: snu X4"
    assert do in one.do
    # what training has an example of is no complaint; nor is anything where training has none
    with h5py.File(root / "train/kspace/brain_acc4_0.h5", "a") as file:
        with_mask(lines)(file)
    assert complaints(check(root)) == []
    for number in (0, 1):
        with h5py.File(root / f"train/kspace/brain_acc4_{number}.h5", "a") as file:
            with_mask(np.ones(24))(file)
    assert complaints(check(root)) == []


def test_each_set_is_warned_of_alone(root: Path) -> None:
    """Validation files are full, and stored with the mask that they are scored through."""
    with h5py.File(root / "val/kspace/brain_acc4_2.h5", "a") as file:
        with_mask(snu_mask(24, 8).lines)(file)
    found = [one.found for one in check(root) if one.level == "WARN"]
    assert found == ["val has 1 snu X8"]
    (root / "train").rename(root / "elsewhere")
    assert complaints(check(root)) == []


X8 = np.zeros(24)
X8[4::8] = X8[11:13] = 1
ACS = np.zeros(24)
ACS[8:16] = 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (np.ones(24), "another mask than the one"),  # the challenge's own mistake of 2022
        (X8, "another mask than the one"),  # X4 is signal where X8 has none: no sign of full data
        (np.ones((28, 24)), "another mask than the one"),
        (np.random.default_rng(0).random((28, 24)) < 0.3, "another mask than the one"),
    ],
)
def test_masked_data_under_another_mask_is_not_called_full(
    spoil: Spoil, lines: np.ndarray, said: str
) -> None:
    spoil(masked)
    found = complaints(check_file(spoil(with_mask(lines))).findings)
    assert [one[:2] for one in found] == [("FAIL", "dataset 'mask'")]
    assert said in found[0][2]


def test_a_mask_that_samples_what_is_zero_is_found(root: Path) -> None:
    path = root / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    lines = np.zeros(24)
    with h5py.File(path, "a") as file:
        lines[:] = file["mask"][:]
        lines[[5, 9]] = 1
        with_mask(lines)(file)
    found = complaints(check_file(path).findings)
    assert ("FAIL", "mask", "2 lines that it samples hold only zeros") in found


def test_signal_that_the_mask_leaves_out_is_found_in_any_slice(root: Path) -> None:
    path = root / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    with h5py.File(path, "a") as file:
        put(1e-6, (2, 3, 5, 7))(file)
    found = complaints(check_file(path).findings)
    assert found == [("FAIL", "mask", "1 lines that it leaves out hold signal")]


def test_a_two_dimensional_mask_must_fit_too(root: Path) -> None:
    path = root / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    lines = np.random.default_rng(0).random((28, 24)) < 0.5
    lines[10:18, 8:16] = True
    with h5py.File(path, "a") as file, h5py.File(root / "train/kspace/brain_acc4_0.h5") as full:
        file["kspace"][:] = full["kspace"][:] * lines
        with_mask(lines)(file)
    assert "FAIL" not in [one[0] for one in complaints(check_file(path).findings)]
    more = lines.copy()
    more[5, np.flatnonzero(~lines[5])[3:5]] = True
    with h5py.File(path, "a") as file:
        with_mask(more)(file)
    found = complaints(check_file(path).findings)
    assert ("FAIL", "mask", "2 samples that it samples hold only zeros") in found


def test_full_and_masked_are_told_where_the_middle_is_blank(root: Path, spoil: Spoil) -> None:
    path = root / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    for change in (lambda file: file.__delitem__("mask"), put(0, 1)):
        with h5py.File(path, "a") as file:
            change(file)
    said = check_file(path).findings[0].found
    assert "28 x 24, masked, snu X4" in said
    path = spoil(put(0, (slice(0, 2))))
    assert "28 x 24, full, snu X4" in check_file(path).findings[0].found


@pytest.mark.parametrize("factor", [1e-30, 1e25])
def test_a_wrong_target_is_found_at_any_scale(root: Path, spoil: Spoil, factor: float) -> None:
    swapped(root)
    spoil(scaled(factor), "image")
    found = complaints(check_file(spoil(scaled(factor))).findings)
    assert [one[:2] for one in found] == [("WARN", "scale"), ("FAIL", "target")]
    assert "correlation" in found[1][2]


def test_a_wrong_target_is_found_where_the_middle_is_blank(root: Path, spoil: Spoil) -> None:
    swapped(root)
    found = complaints(check_file(spoil(put(0, 1))).findings)
    assert ("WARN", "slices", "blank: 1") in found
    assert any(one[1] == "target" and "correlation" in one[2] for one in found)


def test_a_target_of_one_value_is_found(root: Path, spoil: Spoil) -> None:
    spoil(lambda file: file["image_label"].__setitem__(..., 1e-4), "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert [one[1] for one in found if one[0] == "FAIL"] == ["target"]
    assert "one value everywhere" in found[-1][2]


def swapped(root: Path) -> None:
    """The image files of two scans, exchanged."""
    a, b = (root / "train" / "image" / f"brain_acc4_{n}.h5" for n in (0, 1))
    kept = a.read_bytes()
    shutil.copy(b, a)
    b.write_bytes(kept)


def test_swapped_targets_are_found_by_correlation(root: Path) -> None:
    swapped(root)
    found = complaints(check(root))
    assert [one[:2] for one in found] == [("FAIL", "target")] * 2
    assert all("correlation" in one[2] for one in found)


def test_transposed_and_rescaled_targets_are_found(root: Path, spoil: Spoil) -> None:
    def transposed(file: h5py.File) -> None:
        file["image_label"][:] = file["image_label"][:].transpose(0, 2, 1)

    path = root / "train" / "kspace" / "brain_acc4_0.h5"
    spoil(transposed, "image")
    assert "correlation" in complaints(check_file(path).findings)[0][2]
    spoil(transposed, "image")
    spoil(scaled(2), "image")
    level, item, found = complaints(check_file(path).findings)[0]
    assert (level, item) == ("FAIL", "target")
    assert "its k-space is 0.5 times as strong" in found


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_target_of_nan_is_found(root: Path, spoil: Spoil, value: float) -> None:
    def change(file: h5py.File) -> None:
        file["image_label"][0, 0, 0] = value

    spoil(change, "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert ("FAIL", "target", "NaN or infinity") in found


def test_a_wrong_attribute_max_is_a_warning(root: Path, spoil: Spoil) -> None:
    spoil(lambda file: file.attrs.__setitem__("max", 1.0), "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert [one[:2] for one in found] == [("WARN", "target")]


def test_a_missing_partner_is_named_and_shifts_no_other_pair(root: Path) -> None:
    (root / "train" / "image" / "brain_acc4_0.h5").unlink()
    found = [one for one in check(root) if one.level != "PASS"]
    assert [(one.item, one.found) for one in found] == [("pair", "no image/brain_acc4_0.h5")]


def test_another_number_of_slices_is_found(root: Path, spoil: Spoil) -> None:
    def shortened(file: h5py.File) -> None:
        images = file["image_label"][:2]
        del file["image_label"]
        file["image_label"] = images

    spoil(shortened, "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert found[0][0] == "FAIL"
    assert "shape (2, 20, 20)" in found[0][2]


def test_a_scan_in_train_and_val_is_a_leak_under_any_name(root: Path) -> None:
    for kind in ("kspace", "image"):
        here = root / "train" / kind / "brain_acc4_0.h5"
        shutil.copy(here, root / "val" / kind / "brain_acc4_77.h5")
    found = complaints(check(root))
    assert ("FAIL", "leak") in [one[:2] for one in found]
    assert any("brain_acc4_77.h5" in one[2] for one in found)


def test_a_person_in_train_and_val_is_a_warning_that_names_nobody(root: Path, spoil: Spoil) -> None:
    spoil(lambda file: file.attrs.__setitem__("patient_id", np.bytes_("p2")))
    found = complaints(check(root))
    assert [one[:2] for one in found] == [("WARN", "leak")]
    assert "brain_acc4_2.h5" in found[0][2]
    assert "p2" not in found[0][2]


def test_folders_above_the_data_set_name_no_set(root: Path, tmp_path: Path) -> None:
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


def test_a_part_of_a_data_set_may_be_checked_alone(root: Path) -> None:
    folder = root / "train" / "kspace"
    assert complaints(check(folder / "brain_acc4_0.h5")) == []
    assert complaints(check(folder)) == []
    for images in (root / "train" / "image", root / "train" / "image" / "brain_acc4_0.h5"):
        with pytest.raises(DataError, match="found images alone; expected files of k-space"):
            check(images)


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


@pytest.mark.parametrize("bad", [["hangs.h5"], ["kills.h5", "m/kills.h5"]])
def test_a_file_that_kills_or_hangs_its_child_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[str]
) -> None:
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
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*parts: object, **more: object) -> None:
        raise MemoryError("64 GiB")

    monkeypatch.setattr(inspect, "check_scan", fail)
    found = complaints(check_file(root / "train/kspace/brain_acc4_0.h5").findings)
    assert found == [("FAIL", "file", "MemoryError: 64 GiB")]


def test_a_copy_within_one_set_is_a_warning(root: Path) -> None:
    for kind in ("kspace", "image"):
        folder = root / "train" / kind
        shutil.copy(folder / "brain_acc4_0.h5", folder / "again.h5")
    assert [one[:2] for one in complaints(check(root))] == [("WARN", "duplicate")]


def test_rubbish_beside_the_data_is_a_finding_or_nothing(root: Path) -> None:
    folder = root / "train" / "kspace"
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._brain_acc4_0.h5").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    assert complaints(check(root)) == []
    (folder / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 500)
    (root / "train" / "image" / "broken.h5").write_bytes(b"")
    found = complaints(check(root))
    assert [one[0] for one in found] == ["FAIL"]


def test_the_command_tells_by_its_exit_code(
    root: Path, spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(root)
    said = capsys.readouterr().out
    assert "next: dealias train" in said
    assert "masks of train: 2 snu X4\n" in said
    spoil(put(0, 2))  # a warning
    command(root)
    with pytest.raises(typer.Exit) as strict:
        command(root, strict=True)
    spoil(put(complex("nan")))
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
