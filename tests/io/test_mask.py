"""Masks from files: what was stored comes back, identified; anything else is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.data.remask import MaskSettings, training_mask
from dealias.errors import DataError
from dealias.io.mask import load_mask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Geometry, Scan

RULE = snu_mask(48, 4)


def stored(folder: Path, suffix: str, values: np.ndarray) -> Path:
    path = folder / f"mask{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    else:
        with h5py.File(path, "w") as file:
            file["mask"] = values
    return path


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32, np.int64])
def test_a_stored_mask_comes_back_identified(tmp_path: Path, suffix: str, dtype: type) -> None:
    found = load_mask(stored(tmp_path, suffix, RULE.lines.astype(dtype)))
    assert found == RULE
    assert (found.family, found.nominal, found.acs) == ("snu", 4.0, RULE.acs)


def test_a_two_dimensional_mask_keeps_its_axes(tmp_path: Path) -> None:
    lines = np.random.default_rng(1).random((20, 16)) < 0.4
    found = load_mask(stored(tmp_path, ".npy", lines))
    assert found.axes == (-2, -1)
    np.testing.assert_array_equal(found.lines, lines)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(8, 0.5), "values other than 0 and 1"),
        (np.array([0, 1, 2]), "values other than 0 and 1"),
        (np.array([np.nan, 1.0]), "values other than 0 and 1"),
        (np.zeros(8), "only zeros"),
        (np.ones((2, 3, 4)), "shape"),
        (np.zeros((0,)), "shape"),
        (np.array(["1", "0"]), "values other than 0 and 1"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_mask(stored(tmp_path, ".npy", values))


def test_pickles_and_rubbish_are_refused_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([object()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01\x00garbage")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(DataError, match="no readable .npy"):
            load_mask(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        load_mask(tmp_path / "none.npy")


def test_training_through_a_stored_mask(tmp_path: Path) -> None:
    path = stored(tmp_path, ".npy", RULE.lines)
    settings = MaskSettings(kind="file", file=path)
    scan = Scan("a", (1, 2, 20, 48), None, True, Geometry((20, 48), (20, 20)), None)  # type: ignore[arg-type]
    assert training_mask(settings, scan, 1, 2, 3) == RULE
    narrow = Scan("b", (1, 2, 20, 40), None, True, Geometry((20, 40), (20, 20)), None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"shape \(48,\).*\(40,\) or \(20, 40\), as b has"):
        training_mask(settings, narrow, 1, 2, 3)
    with pytest.raises(ValueError, match="go together"):
        MaskSettings(kind="file")
