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
    assert [f"{name}.h5" for name in names(scans)] == sorted(f"{name}.h5" for name in ODD)
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


def test_a_part_of_a_data_set_has_its_images(root: Path) -> None:
    folder = root / "train" / "kspace"
    for part in (folder, folder / "brain_acc4_1.h5"):
        scan = open_data(part)[-1]
        assert scan.name == "brain_acc4_1"
        assert scan.image("target", 0) is not None


def test_files_of_one_name_stay_apart(tmp_path: Path, pair: Pair) -> None:
    for seed, folder in enumerate(("acc4", "acc8")):
        pair(tmp_path / folder, "brain_test1", seed)
    first, second = open_data(tmp_path)
    assert (first.name, second.name) == ("brain_test1", "brain_test1")
    assert first.id != second.id
    assert (first.image("target", 0) != second.image("target", 0)).any()  # type: ignore[union-attr]


def test_a_name_in_two_unicode_forms_is_no_pair(tmp_path: Path, pair: Pair) -> None:
    """As one of the two folders was copied by a Mac; no guess is made."""
    _, image = pair(tmp_path / "train", "뇌_acc4_1", 0)
    image.rename(image.with_name(unicodedata.normalize("NFD", image.name)))
    with pytest.raises(DataError, match="no partner kspace/.*h5 but one in another Unicode form"):
        open_split(tmp_path, "train")


def test_a_message_about_an_odd_name_is_one_line(tmp_path: Path, pair: Pair) -> None:
    _, image = pair(tmp_path / "train", "a\nb\x1b[2J", 0)
    image.unlink()
    with pytest.raises(DataError) as caught:
        open_split(tmp_path, "train")
    assert "\n" not in str(caught.value)
    assert "no partner image/a\\nb\\x1b[2J.h5" in str(caught.value)


def test_a_path_longer_than_the_file_system_allows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="File name too long"):
        open_data(tmp_path / ("k" * 300))
    with pytest.raises(DataError, match="File name too long"):
        open_split(tmp_path, "k" * 300)


def test_a_bad_file_is_named_among_good_ones(root: Path) -> None:
    bad = root / "train" / "kspace" / "brain_acc4_1.h5"
    bad.write_bytes(bad.read_bytes()[:500])
    with pytest.raises(DataError, match="no readable HDF5 in 500 bytes") as caught:
        open_split(root, "train")
    assert str(caught.value).startswith(f"{bad}: ")


def test_linked_folders_are_followed_but_never_upwards(root: Path, tmp_path: Path) -> None:
    """Data sets are often links to a larger disk."""
    elsewhere = (root / "train").rename(tmp_path / "elsewhere")
    (root / "train").symlink_to(elsewhere)
    (root / "val" / "all").symlink_to(tmp_path)
    assert names(open_split(root, "train")) == ["brain_acc4_0", "brain_acc4_1"]
    assert len(open_data(root)) == 4
