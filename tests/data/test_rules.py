"""Mask rules of the sets: one that training lacks is a warning, with what to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.data.inspect import check
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.snu import snu_mask

Complaints = Callable[..., list[tuple[str, str, str]]]
LATTICE = equispaced_mask(24, 4, 0.17, 1).lines
BOARD = "leaderboard/acc4/kspace/brain_acc4_3.h5"


def store(path: Path, lines: np.ndarray) -> None:
    """Put another mask beside k-space, which stays as it is."""
    with h5py.File(path, "a") as file:
        file["mask"][:] = lines.astype(np.float32)


def masked_by(path: Path, lines: np.ndarray) -> None:
    """Put another mask, and k-space that fits it, where the leaderboard's was."""
    store(path, lines)
    with h5py.File(path, "a") as file:
        values = file["kspace"][:]
        values[..., ~lines] = 0
        values[..., lines & (values == 0).all((0, 1, 2))] = 1e-6
        file["kspace"][:] = values


@pytest.mark.parametrize(
    ("lines", "found", "do"),
    [
        (snu_mask(24, 8).lines, "snu X8", "(masks.kind=snu masks.accelerations=[4,8])"),
        (LATTICE, "equispaced X4", "(masks.kind=equispaced masks.accelerations=[4])"),
    ],
)
def test_masks_that_training_has_none_of_are_a_warning(
    root: Path, lines: np.ndarray, found: str, do: str, complaints: Complaints
) -> None:
    masked_by(root / BOARD, lines)
    one, *others = [one for one in check(root) if one.level != "PASS"]
    assert not others
    assert (one.level, one.file, one.item) == ("WARN", str(root / BOARD), "masks")
    assert one.found == f"leaderboard has 1 {found}"
    assert one.expected == "rules that training has: snu X4"
    assert do in one.do
    # what training has an example of is no complaint; nor is anything where training has none
    store(root / "train/kspace/brain_acc4_0.h5", lines)
    assert complaints(check(root)) == []
    for number in (0, 1):
        store(root / f"train/kspace/brain_acc4_{number}.h5", np.ones(24))
    assert complaints(check(root)) == []


def test_each_set_is_warned_of_alone(root: Path, complaints: Complaints) -> None:
    """Validation files are full, and stored with the mask that they are scored through."""
    store(root / "val/kspace/brain_acc4_2.h5", snu_mask(24, 8).lines)
    found = [one.found for one in check(root) if one.level == "WARN"]
    assert found == ["val has 1 snu X8"]
    (root / "train").rename(root / "elsewhere")
    assert complaints(check(root)) == []
