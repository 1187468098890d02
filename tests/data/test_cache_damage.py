"""What is wrong with a cache is said in one line, and never trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_data
from dealias.data.findings import Finding
from dealias.data.inspect import check
from dealias.data.keep import Keep
from dealias.errors import DataError, UserError

Complaints = Callable[[Iterable[Finding]], list[tuple[str, str, str]]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, pair: Callable[..., object]) -> Path:
    """data/ and cache/, to be copied."""
    folder = tmp_path_factory.mktemp("sound")
    for number, split in enumerate(("train", "train", "val", "leaderboard/acc4")):
        pair(folder / "data" / split, f"brain_acc4_{number}", number, split.startswith("leader"))
    make_cache(plan_cache(folder / "data", Keep(2)), folder / "cache")
    return folder


@pytest.fixture
def cache(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound / "cache", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def volume(cache: Path) -> Path:
    """The file of train/kspace/brain_acc4_0.h5."""
    scan = open_data(cache / "train")[0]
    return Path(scan.source.path)  # type: ignore[attr-defined]


def test_a_sound_cache_passes(cache: Path, complaints: Complaints) -> None:
    done: list[int] = []
    findings = check(cache, progress=done.append)
    assert (len(findings), sum(done)) == (4, 4)
    assert complaints(findings) == []
    assert len(check(cache / "train")) == 2


def changed(path: Path, place: int, byte: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[place] = data[place] ^ 1 if byte is None else byte
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0, 9, 30, 200, 700])
def test_a_damaged_header_is_refused_on_opening(place: int, cache: Path, volume: Path) -> None:
    changed(volume, place)
    with pytest.raises(DataError, match="damaged header.*run the same dealias cache again"):
        open_data(cache / "train")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"dtype":"C64"', b'"dtype":"C32"'), (rb'rows\":[2,26]', rb'rows\":[1,25]'),
     (b"brain_acc4_0", b"brain_acc4_8")],
)  # fmt: skip
def test_a_header_that_says_something_else_is_refused(
    old: bytes, new: bytes, cache: Path, volume: Path
) -> None:
    data = volume.read_bytes()
    assert data.count(old) == 1
    volume.write_bytes(data.replace(old, new))
    with pytest.raises(DataError, match="header"):
        open_data(cache / "train")


@pytest.mark.parametrize("cut", [0, 5, 1000, -1])
def test_a_shortened_file_is_refused_on_opening(cut: int, cache: Path, volume: Path) -> None:
    volume.write_bytes(volume.read_bytes()[:cut])
    with pytest.raises(DataError, match=volume.name):
        open_data(cache / "train")


def test_a_file_shortened_while_it_is_used_is_refused(cache: Path, volume: Path) -> None:
    scan = open_data(cache / "train")[0]
    volume.write_bytes(volume.read_bytes()[:-1])
    with pytest.raises(DataError, match="bytes; expected"):
        scan.image("target", 0)


def test_a_missing_file_is_refused_on_opening(cache: Path, volume: Path) -> None:
    volume.unlink()
    with pytest.raises(DataError, match="No such file"):
        open_data(cache / "train")


def test_a_volume_in_the_place_of_another_is_refused(cache: Path, volume: Path) -> None:
    other = next(path for path in volume.parent.iterdir() if path != volume)
    volume.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="another header; expected the one that was written"):
        open_data(cache / "train")


def test_check_finds_a_flipped_bit_in_the_data(
    cache: Path, volume: Path, complaints: Complaints, sound: Path
) -> None:
    changed(volume, -100)
    open_data(cache)  # cheap checks do not see it
    found = complaints(check(cache))
    assert found == [("FAIL", "train/kspace/brain_acc4_0.h5", "other bytes than were written")]
    volume.unlink()
    make_cache(plan_cache(sound / "data", Keep(2)), cache)
    assert complaints(check(cache)) == []


def test_check_says_that_a_cache_is_unfinished(cache: Path, complaints: Complaints) -> None:
    path = cache / "manifest.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"complete": False, "volumes": value["volumes"][:3]}))
    assert complaints(check(cache)) == [("FAIL", "cache", "3 of 4 volumes")]
    with pytest.raises(DataError, match="3 of 4 volumes; expected all; run the same dealias cache"):
        open_data(cache)


@pytest.mark.parametrize(
    "change",
    [{"dealias_cache": 2}, {"volumes": [{"source": "a"}]}, {"rows": None}, {"extra": 1}],
)
def test_a_manifest_of_another_kind_is_refused(change: dict[str, object], cache: Path) -> None:
    path = cache / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="manifest.json.*make the cache again"):
        open_data(cache)


def test_a_damaged_manifest_is_refused(cache: Path) -> None:
    path = cache / "manifest.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match="damaged JSON"):
        open_data(cache)


def test_a_manifest_of_another_tool_is_none_of_ours(root: Path) -> None:
    (root / "manifest.json").write_text('{"name": "an app"')
    assert len(open_data(root)) == 4


def test_a_path_that_cannot_be_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        open_data(tmp_path / ("x" * 300))
