"""A cache stands for its data set, is bounded, and keeps what was finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from dealias.data import cache_folder
from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_data, open_split
from dealias.data.keep import Keep
from dealias.data.remask import MaskSettings
from dealias.data.samples import Samples, collate
from dealias.errors import DataError, DiskError, SettingsError
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan
from dealias.training.loader import batches

MARGIN = 2
"""Rows 2 to 26 of 28; the target has 20."""
SNU = MaskSettings(kind="snu")
Pair = Callable[..., tuple[Path, Path]]


def cached(root: Path, out: Path, margin: Any = MARGIN, **how: Any) -> Path:
    make_cache(plan_cache(root, Keep(margin)), out, **how)
    return out


@pytest.fixture
def cache(root: Path, tmp_path: Path) -> Path:
    return cached(root, tmp_path / "cache")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Path:
    """A data set that no test changes."""
    folder = tmp_path_factory.mktemp("data")
    for number, split in enumerate(("train", "train", "val", "leaderboard/acc4")):
        pair(folder / split, f"brain_acc4_{number}", number, split.startswith("leader"))
    return folder


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[Any, Path]:
    """Its caches, by margin."""
    folder = tmp_path_factory.mktemp("caches")
    return {margin: cached(data, folder / f"{margin}", margin) for margin in (MARGIN, "all")}


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_same_scans(a: tuple[Scan, ...], b: tuple[Scan, ...]) -> None:
    assert [scan.name for scan in a] == [scan.name for scan in b]
    for x, y in zip(a, b, strict=True):
        for key in ("id", "shape", "mask", "full", "geometry", "cell", "data_range", "boxes"):
            assert getattr(x, key) == getattr(y, key), (x.name, key)
        if x.mask is not None and y.mask is not None:
            for key in ("acs", "nominal", "family", "offset"):
                assert getattr(x.mask, key) == getattr(y.mask, key)
        for z in (0, slice(None)):
            assert np.array_equal(x.target(z), y.target(z))


@pytest.mark.parametrize(
    "split", ["train", "val", "train[1:2]", "train[:1]", "train/brain_acc4_1", "train/brain*",
              "leaderboard", "leaderboard/acc4"],
)  # fmt: skip
def test_a_split_of_the_cache_is_that_split(
    split: str, data: Path, caches: dict[Any, Path]
) -> None:
    assert_same_scans(open_split(data, split), open_split(caches[MARGIN], split))


def test_a_part_of_the_cache_is_named_like_a_folder_of_the_data(
    data: Path, caches: dict[Any, Path]
) -> None:
    cache = caches[MARGIN]
    for part in (".", "val", "leaderboard/acc4/kspace", "val/kspace/brain_acc4_2.h5"):
        assert_same_scans(open_data(data / part), open_data(cache / part))
    assert not (cache / "val").exists()


@pytest.mark.parametrize("part", ["train", "valid", "train[5:]"])
def test_what_was_not_cached_is_said(part: str, root: Path, tmp_path: Path) -> None:
    cache = cached(root / "val", tmp_path / "cache")
    with pytest.raises((DataError, SettingsError), match="cache"):
        open_split(cache, part)
    with pytest.raises(DataError, match="nothing in the cache"):
        open_data(cache / part)


@pytest.mark.parametrize("kind", ["snu", "random", "stored"])
@pytest.mark.parametrize(("margin", "needs"), [
    (MARGIN, Needs(readout_crop=2)), (MARGIN, Needs(readout_crop=0)),
    ("all", Needs()), (MARGIN, Needs(slices=3, readout_crop=1)),
])  # fmt: skip
def test_batches_from_the_cache_measure_the_same_bits(
    kind: str, margin: Any, needs: Needs, data: Path, caches: dict[Any, Path]
) -> None:
    masks, cpu = MaskSettings(kind=kind), torch.device("cpu")
    both = (data, caches[margin])
    sets = [Samples(open_split(one, "train"), masks, needs, 1) for one in both]
    assert sets[0].keys() == sets[1].keys()
    for group in ((3,), (0, 5), (1, 2, 4)):
        a, b = (collate([samples[(1, index)] for index in group]) for samples in sets)
        assert (a.masks, a.names) == (b.masks, b.names)
        assert torch.equal(a.range_B, b.range_B)
        assert torch.equal(a.target_BHW, b.target_BHW)
        assert torch.equal(a.foreground_BHW, b.foreground_BHW)
        x, y = (batch.measurement(needs, cpu) for batch in (a, b))
        assert torch.equal(x.scale_B, y.scale_B)
        assert torch.equal(x.kspace_BSCHW, y.kspace_BSCHW)


def test_workers_hand_over_the_same_batches(caches: dict[Any, Path]) -> None:
    samples = Samples(open_split(caches[MARGIN], "train"), SNU, Needs(readout_crop=0), 1)
    groups = [(0, 1), (2,), (3, 4, 5)]
    plain, worked = (list(batches(samples, 0, groups, workers)) for workers in (0, 2))
    for a, b in zip(plain, worked, strict=True):
        assert torch.equal(a.kspace_BSCHW, b.kspace_BSCHW)
        assert a.hybrid is not None
        assert b.hybrid is not None
        assert torch.equal(a.hybrid.peaks_BSW, b.hybrid.peaks_BSW)


def test_a_slice_is_mapped_and_not_read(caches: dict[Any, Path]) -> None:
    scan = open_split(caches[MARGIN], "train")[0]
    assert scan.cached is not None
    data, _ = scan.cached.hybrid([1], scan.cached.rows)
    ranges = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if f"{caches[MARGIN]}/volumes" in line
    ]
    assert any(start <= data.data_ptr() < stop for start, stop in ranges)


def test_a_foreground_of_another_threshold_is_not_used(caches: dict[Any, Path]) -> None:
    cached = open_split(caches[MARGIN], "train")[0].cached
    assert cached is not None
    assert cached.foreground(0, 5e-5) is not None
    assert cached.foreground(0, 4e-5) is None


def test_no_kspace_is_made_up(caches: dict[Any, Path]) -> None:
    with pytest.raises(DataError, match="rows of an image"):
        open_data(caches[MARGIN] / "val")[0].kspace(0)


def test_a_cache_too_narrow_is_refused_before_the_first_sample(
    caches: dict[Any, Path],
) -> None:
    scans = open_split(caches[MARGIN], "train")
    for crop, wanted in ((3, "rows 1 to 27"), (None, "all rows")):
        with pytest.raises(DataError, match=f"rows 2 to 26 of 28; expected {wanted}.*readout_crop"):
            Samples(scans, SNU, Needs(readout_crop=crop), 1)
    with pytest.raises(DataError, match="2-D mask"):
        Samples(scans, MaskSettings(kind="poisson_disc"), Needs(readout_crop=2), 1)


def test_a_scan_with_a_mask_over_two_axes_is_not_cached(
    root: Path, spoil: Callable[..., Path]
) -> None:
    def plane(file: h5py.File) -> None:
        del file["mask"]
        lines = np.random.default_rng(0).random((28, 24)) < 0.4
        file["mask"] = lines.astype(np.float32)

    spoil(plane)
    with pytest.raises(DataError, match="2-D mask"):
        plan_cache(root, Keep())


def test_targets_of_full_kspace_are_made_once(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain" / "train"
    folder.mkdir(parents=True)
    for path in sorted((root / "train" / "kspace").iterdir()):
        shutil.copy(path, folder)
    cache = cached(folder.parent, tmp_path / "cache", "all")
    a, b = (open_split(one, "train") for one in (folder.parent, cache))
    assert_same_scans(a, b)
    x, y = (Samples(scans, SNU, Needs(), 1)[(0, 1)] for scans in (a, b))
    assert x.data_range == y.data_range != 0
    assert torch.equal(x.foreground_HW, y.foreground_HW)


def test_order_and_odd_names_survive(root: Path, pair: Pair, tmp_path: Path) -> None:
    for number, name in enumerate(["a.i", "a", "a-b", "x" * 252, "ä$(b)"]):
        pair(root / "train", name, 10 + number)
    cache = cached(root, tmp_path / "cache")
    names = [[scan.name for scan in open_split(one, "train")] for one in (root, cache)]
    assert names[0] == names[1]
    assert len(names[0]) == 7


def test_another_run_keeps_finished_volumes(root: Path, cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (cache / "volumes").iterdir()}
    seen: list[int] = []
    cached(root, cache, progress=seen.append)
    assert sum(seen) == 12
    assert {path: path.stat().st_mtime_ns for path in (cache / "volumes").iterdir()} == before


def test_only_what_changed_is_made_again(root: Path, cache: Path, pair: Pair) -> None:
    before = {path: path.stat().st_mtime_ns for path in (cache / "volumes").iterdir()}
    ids = [scan.id for scan in open_split(cache, "train")]
    pair(root / "train", "brain_acc4_1", 77)
    shutil.rmtree(root / "val")
    cached(root, cache)
    after = {path: path.stat().st_mtime_ns for path in (cache / "volumes").iterdir()}
    assert len(after) == 3
    assert sum(before[path] == time for path, time in after.items()) == 2
    assert [scan.id for scan in open_split(cache, "train")] == [
        ids[0],
        open_split(root, "train")[1].id,
    ]


def test_other_rows_are_another_cache(root: Path, cache: Path) -> None:
    with pytest.raises(SettingsError, match="margin 2; expected margin 16"):
        cached(root, cache, 16)
    with pytest.raises(SettingsError, match="files in"):
        cached(root, root / "val")
    with pytest.raises(DataError, match="a cache; expected the data set"):
        plan_cache(cache, Keep())


@pytest.mark.parametrize(
    ("keep", "rows"), [(Keep(), (0, 28)), (Keep(0), (4, 24)), (Keep("all"), (0, 28)),
                       (Keep(rows=21), (4, 25)), (Keep(rows=999), (0, 28))],
)  # fmt: skip
def test_rows_are_counted_around_the_middle(keep: Keep, rows: tuple[int, int]) -> None:
    assert keep.window("a", 28, 20) == rows


def test_fewer_rows_than_the_target_has_are_refused(root: Path) -> None:
    with pytest.raises(SettingsError, match="19 rows.*at least the target's 20"):
        plan_cache(root, Keep(rows=19))


def test_the_limit_is_kept_and_said_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    plan, out = plan_cache(root, Keep(MARGIN)), tmp_path / "cache"
    with pytest.raises(SettingsError, match="--limit: found a cache of .* kB; expected at most"):
        make_cache(plan, out, limit=plan.bytes - 1)
    assert not out.exists()
    make_cache(plan, out, limit=plan.bytes)
    assert sum(map(len, content(out).values())) <= plan.bytes


def test_a_disk_without_room_is_said_before_anything_is_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep" / "cache"
    full = shutil._ntuple_diskusage(10**9, 10**9 - 10**7, 10**7)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(DiskError, match="10 MB free on the disk"):
        cached(root, out)
    assert not out.parent.exists()


def test_numbers_that_are_none_stop_it_and_the_rest_stays(
    root: Path, tmp_path: Path, spoil: Callable[..., Path], pair: Pair
) -> None:
    path = spoil(lambda file: file["kspace"].__setitem__((1, 2, 3, 4), np.nan))
    out = tmp_path / "cache"
    with pytest.raises(DataError, match=r"brain_acc4_0.h5, slice 1: found NaN"):
        cached(root, out)
    with pytest.raises(DataError, match="a cache with 1 of 4 volumes"):
        open_data(out)
    assert not list(out.rglob(".partial-*"))
    pair(root / "train", path.stem, 0)
    cached(root, out)
    assert_same_scans(open_data(root), open_data(out))


def test_one_writes_at_a_time(root: Path, cache: Path) -> None:
    with cache_folder.locked(cache), pytest.raises(SettingsError, match="another dealias cache"):
        cached(root, cache)


def test_other_tools_read_a_volume(caches: dict[Any, Path]) -> None:
    path = next((caches[MARGIN] / "volumes").iterdir())
    arrays = safetensors.torch.load_file(path)
    assert arrays["hybrid"].shape == (3, 4, 24, 24)
    assert arrays["hybrid"].dtype == torch.complex64
    assert arrays["peaks"].shape == (3, 24)


def test_nothing_of_this_machine_is_in_a_cache(cache: Path, tmp_path: Path) -> None:
    for name, data in content(cache).items():
        assert os.fsencode(tmp_path) not in data, name
    assert json.loads((cache / "manifest.json").read_text())["complete"] is True
