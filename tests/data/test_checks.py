"""What is wrong with one file: each thing is found and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dealias.data.inspect import check, check_file

Spoil = Callable[..., Path]
Change = Callable[[h5py.File], None]
Complaints = Callable[..., list[tuple[str, str, str]]]


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


def swapped(root: Path) -> None:
    """The image files of two scans, exchanged."""
    a, b = (root / "train" / "image" / f"brain_acc4_{n}.h5" for n in (0, 1))
    kept = a.read_bytes()
    shutil.copy(b, a)
    b.write_bytes(kept)


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
def test_what_is_wrong_with_k_space_is_found(
    case: str, spoil: Spoil, complaints: Complaints
) -> None:
    change, level, item, said = CASES[case]
    found = complaints(check_file(spoil(change)).findings)
    assert any(one[:2] == (level, item) and said in one[2] for one in found), found


@pytest.mark.parametrize(("factor", "level"), [(1e-30, "WARN"), (1e20, "WARN"), (1e3, None)])
def test_an_odd_scale_is_a_warning(
    spoil: Spoil, factor: float, level: str | None, complaints: Complaints
) -> None:
    spoil(scaled(factor), "image")
    found = complaints(check_file(spoil(scaled(factor))).findings)
    assert [one[:2] for one in found] == ([(level, "scale")] if level else [])


def test_a_full_mask_is_no_complaint(spoil: Spoil, complaints: Complaints) -> None:
    assert complaints(check_file(spoil(with_mask(np.ones(24)))).findings) == []


X8 = np.zeros(24)
X8[4::8] = X8[11:13] = 1


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
    spoil: Spoil, lines: np.ndarray, said: str, complaints: Complaints
) -> None:
    spoil(masked)
    found = complaints(check_file(spoil(with_mask(lines))).findings)
    assert [one[:2] for one in found] == [("FAIL", "dataset 'mask'")]
    assert said in found[0][2]


def test_a_mask_that_samples_what_is_zero_is_found(root: Path, complaints: Complaints) -> None:
    path = root / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    lines = np.zeros(24)
    with h5py.File(path, "a") as file:
        lines[:] = file["mask"][:]
        lines[[5, 9]] = 1
        with_mask(lines)(file)
    found = complaints(check_file(path).findings)
    assert ("FAIL", "mask", "2 lines that it samples hold only zeros") in found


def test_signal_that_the_mask_leaves_out_is_found_in_any_slice(
    root: Path, complaints: Complaints
) -> None:
    path = root / "leaderboard/acc4/kspace/brain_acc4_3.h5"
    with h5py.File(path, "a") as file:
        put(1e-6, (2, 3, 5, 7))(file)
    found = complaints(check_file(path).findings)
    assert found == [("FAIL", "mask", "1 lines that it leaves out hold signal")]


def test_a_two_dimensional_mask_must_fit_too(root: Path, complaints: Complaints) -> None:
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
def test_a_wrong_target_is_found_at_any_scale(
    root: Path, spoil: Spoil, factor: float, complaints: Complaints
) -> None:
    swapped(root)
    spoil(scaled(factor), "image")
    found = complaints(check_file(spoil(scaled(factor))).findings)
    assert [one[:2] for one in found] == [("WARN", "scale"), ("FAIL", "target")]
    assert "correlation" in found[1][2]


def test_a_wrong_target_is_found_where_the_middle_is_blank(
    root: Path, spoil: Spoil, complaints: Complaints
) -> None:
    swapped(root)
    found = complaints(check_file(spoil(put(0, 1))).findings)
    assert ("WARN", "slices", "blank: 1") in found
    assert any(one[1] == "target" and "correlation" in one[2] for one in found)


def test_a_target_of_one_value_is_found(root: Path, spoil: Spoil, complaints: Complaints) -> None:
    spoil(lambda file: file["image_label"].__setitem__(..., 1e-4), "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert [one[1] for one in found if one[0] == "FAIL"] == ["target"]
    assert "one value everywhere" in found[-1][2]


def test_swapped_targets_are_found_by_correlation(root: Path, complaints: Complaints) -> None:
    swapped(root)
    found = complaints(check(root))
    assert [one[:2] for one in found] == [("FAIL", "target")] * 2
    assert all("correlation" in one[2] for one in found)


def test_transposed_and_rescaled_targets_are_found(
    root: Path, spoil: Spoil, complaints: Complaints
) -> None:
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
def test_a_target_of_nan_is_found(
    root: Path, spoil: Spoil, value: float, complaints: Complaints
) -> None:
    def change(file: h5py.File) -> None:
        file["image_label"][0, 0, 0] = value

    spoil(change, "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert ("FAIL", "target", "NaN or infinity") in found


def test_a_wrong_attribute_max_is_a_warning(
    root: Path, spoil: Spoil, complaints: Complaints
) -> None:
    spoil(lambda file: file.attrs.__setitem__("max", 1.0), "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert [one[:2] for one in found] == [("WARN", "target")]


def test_another_number_of_slices_is_found(
    root: Path, spoil: Spoil, complaints: Complaints
) -> None:
    def shortened(file: h5py.File) -> None:
        images = file["image_label"][:2]
        del file["image_label"]
        file["image_label"] = images

    spoil(shortened, "image")
    found = complaints(check_file(root / "train" / "kspace" / "brain_acc4_0.h5").findings)
    assert found[0][0] == "FAIL"
    assert "shape (2, 20, 20)" in found[0][2]
