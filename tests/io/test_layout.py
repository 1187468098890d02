"""What datasets and attributes may hold: types, sizes, masks and numbers, read or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.errors import DataError
from dealias.io.open import open_scan

Write = Callable[..., Path]
Refused = Callable[..., str]
PARTS = np.random.default_rng(0).standard_normal((2, 2, 3, 24, 20))
KSPACE = (PARTS[0] + 1j * PARTS[1]).astype(np.complex64)


@pytest.mark.parametrize("dtype", [">c8", "<c16"])
def test_other_byte_orders_are_read(path: Path, dtype: str, write: Write) -> None:
    found = open_scan(write(path, kspace=KSPACE.astype(dtype))).kspace(slice(None))
    np.testing.assert_array_equal(found, KSPACE)
    assert found.dtype == np.complex64


def test_what_single_precision_cannot_hold_becomes_infinite(path: Path, write: Write) -> None:
    values = KSPACE.astype(np.complex128)
    values[0, 0, 0, 0] = 1e300
    found = open_scan(write(path, kspace=values)).kspace(slice(None))
    assert np.flatnonzero(~np.isfinite(found)).tolist() == [0]


def test_complex128_is_read_as_complex64(path: Path, write: Write) -> None:
    values = KSPACE.astype(np.complex128) * (1 + 1e-12)
    scan = open_scan(write(path, kspace=values))
    found = scan.kspace(slice(None))
    assert found.dtype == np.complex64
    np.testing.assert_array_equal(found, values.astype(np.complex64))


@pytest.mark.parametrize("shape", [(20,), (24, 20), (3, 24, 20), (1, 2, 3, 24, 20), (0, 3, 24, 20),
                                   (2, 3, 0, 20)])  # fmt: skip
def test_other_ranks_and_empty_axes_are_refused(
    path: Path, shape: tuple[int, ...], write: Write, refused: Refused
) -> None:
    refused(write(path, kspace=np.zeros(shape, np.complex64)), f"shape {shape}")


@pytest.mark.parametrize("shape", [(1, 1, 24, 20), (2, 1, 23, 19), (1, 3, 1, 1)])
def test_small_and_odd_sizes_are_read(path: Path, shape: tuple[int, ...], write: Write) -> None:
    values = np.full(shape, 1 + 1j, np.complex64)
    scan = open_scan(write(path, kspace=values))
    assert scan.shape == shape
    np.testing.assert_array_equal(scan.kspace(slice(None)), values)


MASKS = {
    "another width": (np.ones(19), "shape (19,)"),
    "one for each slice": (np.ones((2, 20)), "shape (2, 20)"),
    "not binary": (np.full(20, 0.5), "values other than 0 and 1"),
    "NaN": (np.full(20, np.nan), "values other than 0 and 1"),
    "empty": (np.zeros(20), "only zeros"),
}


@pytest.mark.parametrize("case", MASKS)
def test_what_is_no_mask_is_refused(path: Path, case: str, write: Write, refused: Refused) -> None:
    values, said = MASKS[case]
    refused(write(path, kspace=KSPACE, mask=values), "dataset 'mask'", said)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_, np.int64])
def test_masks_of_any_plain_type_are_read(path: Path, dtype: type, write: Write) -> None:
    lines = np.zeros(20, bool)
    lines[8:12] = lines[::4] = True
    scan = open_scan(write(path, kspace=KSPACE * lines, mask=lines.astype(dtype)))
    assert scan.mask is not None
    np.testing.assert_array_equal(scan.mask.lines, lines)
    assert not scan.full


ATTRIBUTES = {
    "text": ("abc", "no number"),
    "array": (np.ones(3), "3 values"),
    "huge": (np.ones(200_000), "over 1 MiB"),
    "nothing": (h5py.Empty(np.float32), "0 values"),
    "NaN": (np.nan, "found nan"),
    "infinite": (np.inf, "found inf"),
    "negative": (-1.0, "found -1"),
}


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_an_attribute_that_is_no_number_is_refused(
    tmp_path: Path, path: Path, case: str, write: Write
) -> None:
    value, said = ATTRIBUTES[case]
    write(path, kspace=KSPACE)
    image = tmp_path / "image.h5"
    with h5py.File(image, "w", libver="latest") as file:
        file["image_label"] = np.ones((2, 20, 20), np.float32)
        file.attrs["max"] = value
    with pytest.raises(DataError) as caught:
        open_scan(path, image)
    assert str(caught.value).startswith(f"{image}: attribute 'max': found")
    assert said in str(caught.value)


@pytest.mark.parametrize("stated", [None, 0, 2.5, np.int16(3)])
def test_a_maximum_may_be_missing_or_zero(
    tmp_path: Path, path: Path, stated: object, write: Write
) -> None:
    image = write(tmp_path / "image.h5", image_label=np.ones((2, 20, 20), np.float32))
    if stated is not None:
        with h5py.File(image, "a") as file:
            file.attrs["max"] = stated
    assert open_scan(write(path, kspace=KSPACE), image).data_range == stated


@pytest.mark.parametrize("value", [np.nan, np.inf, -4.0])
def test_an_acceleration_that_is_no_count_is_refused(
    path: Path, value: float, write: Write, refused: Refused
) -> None:
    with h5py.File(write(path, kspace=KSPACE), "a") as file:
        file.attrs["acceleration"] = value
    refused(path, "attribute 'acceleration'", f"found {value:g}", "a number such as 4")
