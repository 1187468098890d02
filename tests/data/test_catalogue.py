"""Which files make a data set: pairs by name, splits, odd names, nothing skipped in silence."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from dealias.data.catalogue import open_data, open_split
from dealias.errors import DataError, SettingsError
from dealias.io.output import read_reconstruction, write_reconstruction

Pair = Callable[..., tuple[Path, Path]]


def names(scans: tuple) -> list[str]:
    return [scan.name for scan in scans]


def test_splits_by_folder_pattern_and_range(root: Path) -> None:
    assert names(open_split(root, "train")) == ["brain_acc4_0", "brain_acc4_1"]
    assert names(open_split(root, "train/brain_*_1")) == ["brain_acc4_1"]
    assert names(open_split(root, "train[1:]")) == ["brain_acc4_1"]
    assert names(open_split(root, "leaderboard/acc4")) == ["brain_acc4_3"]
    with pytest.raises(SettingsError, match="an empty range"):
        open_split(root, "train[5:9]")
    with pytest.raises(DataError, match="split 'test'.*data.train"):
        open_split(root, "test")


def test_a_partner_is_found_by_name_and_its_image_read(root: Path) -> None:
    for scan in open_data(root):
        target = scan.image("target", 0)
        assert target is not None
        assert scan.data_range == pytest.approx(scan.image("target", slice(None)).max())  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["kspace", "image"])
def test_a_missing_partner_is_refused_by_name(root: Path, kind: str) -> None:
    (root / "train" / kind / "brain_acc4_1.h5").unlink()
    with pytest.raises(DataError, match=rf"no partner {kind}/brain_acc4_1.h5"):
        open_split(root, "train")


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        open_data(tmp_path / "none")
    with pytest.raises(DataError, match="no k-space files"):
        open_data(tmp_path)


ODD = ["two words", "-rf", "$(touch x)", "<img onerror=1>", "a\nb", "뇌_acc4_1",
       unicodedata.normalize("NFD", "뇌_acc4_1"), "x" * 240]  # fmt: skip


def test_odd_names_are_names(tmp_path: Path, pair: Pair) -> None:
    for seed, name in enumerate(ODD):
        pair(tmp_path / "train", name, seed)
    scans = open_split(tmp_path, "train")
    assert sorted(names(scans)) == sorted(ODD)
    images = scans[0].image("target", slice(None))
    assert images is not None
    for scan in scans:
        written = write_reconstruction(tmp_path / "out", scan.name, images)
        assert (read_reconstruction(written) == images).all()
    assert len(list((tmp_path / "out").iterdir())) == len(ODD)
    assert not (tmp_path / "x").exists()


def test_hidden_files_and_link_loops_are_no_data(root: Path) -> None:
    folder = root / "train" / "kspace"
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._brain_acc4_0.h5").write_bytes(b"x")
    (folder / "loop.h5").symlink_to(folder / "loop.h5")
    (folder / "up").symlink_to(root)
    assert names(open_split(root, "train")) == ["brain_acc4_0", "brain_acc4_1"]
