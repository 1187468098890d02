"""Simulated data sets: layouts, splits, label rule, determinism, real heads, foreground."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from scipy import ndimage

from dealias.cli.cmd_simulate import simulate as command
from dealias.data.catalogue import open_data, open_split
from dealias.data.simulate import (
    SIGNAL,
    Plan,
    SimulateSettings,
    make_volume,
    plan,
    rss_images,
    simulate,
    split_counts,
)
from dealias.errors import DataError, SettingsError
from dealias.metrics.foreground import THRESHOLDS, foreground
from dealias.physics.anatomy import Subject, render
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner

SMALL = {"slices": 2, "coils": 4, "size": (48, 36), "target": (32, 32), "subjects": 3}


def made(folder: Path, **changes: object) -> Path:
    simulate(SimulateSettings(**(SMALL | changes)), folder, lambda steps: None)  # type: ignore[arg-type]
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.h5"))
    }


@pytest.fixture(scope="module")
def snu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("snu") / "data")


def test_the_tree_and_the_names_are_the_challenges(snu: Path) -> None:
    names = {path.relative_to(snu).as_posix() for path in snu.rglob("*.h5")}
    expected = {
        f"{folder}/{kind}/{name}.h5"
        for kind in ("kspace", "image")
        for anatomy in ("brain", "knee")
        for r in (4, 8)
        for folder, name in (
            ("train", f"{anatomy}_acc{r}_1"),
            ("val", f"{anatomy}_acc{r}_2"),
            (f"leaderboard/acc{r}", f"{anatomy}_test1"),
        )
    }
    assert names == expected


def test_train_is_full_with_its_mask_and_the_leaderboard_is_masked(snu: Path) -> None:
    for scan in (*open_split(snu, "train"), *open_split(snu, "val")):
        assert scan.full and scan.mask == snu_mask(36, scan.cell.acceleration)  # type: ignore[union-attr]
        assert (scan.kspace(0) != 0).all()
    for scan in open_data(snu / "leaderboard"):
        assert scan.mask is not None and not scan.full
        assert (scan.kspace(slice(0, 2))[..., ~scan.mask.lines] == 0).all()
        assert (scan.kspace(slice(0, 2))[..., scan.mask.lines] != 0).all()


def test_label_and_input_follow_the_rule(snu: Path) -> None:
    """RSS of the centred orthonormal inverse FFT, written out in NumPy, cropped and padded."""
    for scan in open_split(snu, "train"):
        assert scan.mask is not None
        kspace = scan.kspace(slice(0, 2)).astype(np.complex128)
        for kind, lines in (("target", 1), ("input", scan.mask.lines)):
            shifted = np.fft.ifftshift(kspace * lines, axes=(2, 3))
            coils = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(2, 3))
            whole = np.sqrt((np.abs(coils) ** 2).sum(1))
            stored = scan.image(kind, slice(0, 2))  # type: ignore[arg-type]
            np.testing.assert_allclose(stored, whole[:, 8:40, 2:34], rtol=1e-4, atol=1e-9)
    with h5py.File(snu / "train/image/knee_acc8_1.h5") as file:
        assert file.attrs["max"] == file["image_label"][:].max()


def test_a_target_wider_than_kspace_is_padded() -> None:
    kspace = np.random.default_rng(0).standard_normal((1, 2, 40, 30)).astype(np.complex64)
    padded = rss_images(kspace, (36, 36))[0]
    assert padded.shape == (36, 36)
    assert (
        (padded[:, :3] == 0).all() and (padded[:, -3:] == 0).all() and (padded[:, 3:33] > 0).all()
    )


def test_the_same_seed_gives_the_same_bytes(snu: Path, tmp_path: Path) -> None:
    assert digests(made(tmp_path / "again")) == digests(snu)
    other = digests(made(tmp_path / "other", seed=431))
    assert other.keys() == digests(snu).keys()
    assert not set(other.values()) & set(digests(snu).values())


def test_nobody_is_in_two_sets_and_no_scan_is_made_twice() -> None:
    plans = plan(SimulateSettings(subjects=20))
    assert len({item.subject for item in plans}) == len(plans) == 80
    sets = {split: sum(item.split == split for item in plans) for split in ("train", "val")}
    assert sets == {"train": 56, "val": 12}


def test_a_head_from_a_file_stays_on_its_side() -> None:
    files = tuple(Path(f"{n}.nii") for n in range(6))
    plans = plan(SimulateSettings(volumes=files))
    sides = {item.subject: item.split.split("/")[0] for item in plans}
    assert all(item.split.startswith(sides[item.subject]) for item in plans)
    assert {item.anatomy for item in plans} == {"brain"} and len(plans) == 12


@pytest.mark.parametrize(
    ("people", "shares", "counts"),
    [
        (3, (70, 15, 15), (1, 1, 1)), (8, (0.7, 0.15, 0.15), (6, 1, 1)),
        (100, (85, 15, 0), (85, 15, 0)), (1, (1, 0, 0), (1, 0, 0)), (5, (0, 0, 2), (0, 0, 5)),
        (3, (1, 100, 1), (1, 1, 1)), (2, (0, 1, 1), (0, 1, 1)),
    ],
)  # fmt: skip
def test_shares_become_people(
    people: int, shares: tuple[float, float, float], counts: tuple[int, int, int]
) -> None:
    assert split_counts(people, shares) == counts


def test_too_few_people_is_one_line() -> None:
    with pytest.raises(SettingsError, match="--subjects: found 2"):
        plan(SimulateSettings(subjects=2))
    with pytest.raises(SettingsError, match="--shares"):
        split_counts(4, (0, 0, 0))


@pytest.mark.parametrize(
    ("year", "cells", "first", "last"),
    [
        (2022, 1, ("train", "brain1"), ("leaderboard", "brain_test1")),
        (2024, 3, ("train", "brain_acc4_1"), ("leaderboard/acc8", "brain_test1")),
        (2025, 4, ("train", "brain_acc4_1"), ("leaderboard/acc8", "knee_test1")),
    ],
)
def test_years(year: int, cells: int, first: tuple[str, str], last: tuple[str, str]) -> None:
    plans = plan(SimulateSettings(year=year, subjects=3))  # type: ignore[arg-type]
    assert len(plans) == 3 * cells
    assert (plans[0].split, plans[0].name) == first and (plans[-1].split, plans[-1].name) == last


def test_any_acceleration() -> None:
    settings = SimulateSettings(subjects=3, accelerations=(3, 12))
    assert {item.acceleration for item in plan(settings)} == {3, 12}
    with pytest.raises(ValueError):
        SimulateSettings(accelerations=(1,))


def test_the_fastmri_layout(tmp_path: Path) -> None:
    folder = made(tmp_path / "data", layout="fastmri", year=2022)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.h5")}
    assert names == {
        "multicoil_train/file_brain_x5_train_1.h5",
        "multicoil_val/file_brain_x5_val_2.h5",
        "multicoil_test/file_brain_x5_test_1.h5",
    }
    (train,), (test,) = open_split(folder, "train"), open_split(folder, "test")
    assert train.full and train.mask is None and train.geometry.target_hw == (32, 32)
    assert not test.full and test.mask == snu_mask(36, 5)


@pytest.mark.parametrize("coils", [4, 20])
@pytest.mark.parametrize("anatomy", ["brain", "knee"])
def test_the_challenges_thresholds_find_the_anatomy(anatomy: str, coils: int) -> None:
    """Also with 20 coils, whose noise adds up; values lie at the challenge's scale."""
    settings = SimulateSettings(coils=coils, slices=2, size=(160, 108), target=(96, 96))
    for item in [item for item in plan(settings) if item.anatomy == anatomy][:3]:
        targets = make_volume(settings, item).target_ZHW
        assert targets is not None
        low, high = {"brain": (2.5e-4, 1e-3), "knee": (1e-4, 6e-4)}[anatomy]
        assert low < targets.max() < high
        for target, truth in zip(targets, drawn(settings, item), strict=True):
            bright = target > THRESHOLDS[anatomy]
            air = ~ndimage.binary_dilation(truth > 0, iterations=3)
            # specks this rare do not survive the rule's first erosion
            assert bright[air].sum() <= 0.25 * air.sum()
            assert (ndimage.binary_erosion(bright, np.ones((3, 3))) & air).sum() < 0.01 * air.size
            found = foreground(target, THRESHOLDS[anatomy])
            assert found[ndimage.binary_erosion(truth > 0, iterations=2)].mean() > 0.97


def drawn(settings: SimulateSettings, item: Plan) -> np.ndarray:
    """The object of a volume of 160 x 108, at every third pixel of the target."""
    grid = Scanner((160, 108), (96, 96), 4, 30, 1).grid()
    subject = Subject(settings.seed, item.subject)
    fine = render(item.anatomy, subject, grid, np.array([-0.6, 0.6]))
    return fine[:, ::3, ::3][:, 32:128, 6:102]


def test_coils_vary_where_none_are_asked_for() -> None:
    settings = SimulateSettings(**(SMALL | {"coils": None, "slices": 1, "subjects": 6}))  # type: ignore[arg-type]
    found = {make_volume(settings, item).kspace_ZCHW.shape[1] for item in plan(settings)[:12]}
    assert len(found) > 3 and min(found) >= 4 and max(found) <= 20


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head whose nose points to +y (anterior in RAS), brighter on its left (-x in RAS)."""
    x, y, z = np.mgrid[-20:20, -24:24, -18:18]
    data = ((x / 15) ** 2 + (y / 19) ** 2 + (z / 16) ** 2 < 1).astype(np.float32) * 100
    data[(np.abs(x) < 3) & (y > 16) & (y < 22)] = 300
    data[(x < -5) & (data == 100)] = 150
    path = tmp_path / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


def test_real_volumes_are_scanned_as_they_lie(head: Path) -> None:
    """Square pixels, anterior at the top, the side as stored, whatever the file's own axes."""
    settings = SimulateSettings(volumes=(head,), shares=(1, 0, 0), slices=3, coils=4, snr=200,
                                size=(96, 72), target=(64, 64))  # fmt: skip
    item = plan(settings)[0]
    volume = make_volume(settings, item)
    assert volume.target_ZHW is not None
    middle = volume.target_ZHW[1]
    rows, columns = (np.flatnonzero((middle > 0.5 * SIGNAL["brain"]).any(axis)) for axis in (1, 0))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(30 / 42, abs=0.08)
    brightest = int(middle.max(axis=1).argmax())
    assert brightest < rows[0] + 0.2 * np.ptp(rows)  # the nose, at the top
    assert np.ptp(rows) / 64 == pytest.approx(1 / 1.1, abs=0.05)  # the head fills the field of view
    assert middle[:, :28].mean() > 1.2 * middle[:, 37:].mean()
    # the same file stored with its axes turned round is the same head
    turned = nibabel.load(head).slicer[::-1, ::-1]
    nibabel.save(turned, head.with_name("turned.nii.gz"))
    again = settings.model_copy(update={"volumes": (head.with_name("turned.nii.gz"),)})
    other = make_volume(again, item).target_ZHW
    np.testing.assert_allclose(other, volume.target_ZHW, rtol=0.02, atol=1e-6)
    assert volume.attributes["patient_id"] != make_volume(again, item).attributes["patient_id"]


def test_a_bad_volume_is_refused_before_anything_is_written(head: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(head.read_bytes()[:200])
    with pytest.raises(DataError, match="bad.nii.gz"):
        made(tmp_path / "out", volumes=(head, head, bad))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fill", [np.nan, 0.0])
def test_a_volume_without_signal_is_refused(tmp_path: Path, fill: float) -> None:
    path = tmp_path / "empty.nii"
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 8), fill, np.float32), np.eye(4)), path)
    with pytest.raises(DataError, match="nothing above 0"):
        made(tmp_path / "out", volumes=(path,), shares=(1, 0, 0))


def test_a_real_head(real_data: Path) -> None:
    path = real_data / "vol_T1_head_lowres_niivue_bsd2.nii.gz"
    settings = SimulateSettings(volumes=(path,), shares=(1, 0, 0), slices=2, coils=4,
                                size=(96, 72), target=(64, 64))  # fmt: skip
    target = make_volume(settings, plan(settings)[0]).target_ZHW
    assert target is not None and 2e-4 < target.max() < 3e-3
    share = (target > 0.5 * SIGNAL["brain"]).mean(axis=(1, 2))
    assert ((share > 0.15) & (share < 0.9)).all()


def test_a_folder_with_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(SettingsError, match="new or empty"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    command(out, subjects=3, slices=1, coils=4, size="48x32", year=2022, quiet=True)
    said = capsys.readouterr().out
    assert said == f"3 simulated volumes in {out}\nnext: dealias check {out}\n"
    assert {scan.geometry.target_hw for scan in open_data(out)} == {(32, 32)}
    for wrong in ({"size": "48"}, {"size": "48x-2"}, {"layout": "bids"}, {"shares": "1,2"},
                  {"accelerations": "4;8"}, {"year": 2019}):  # fmt: skip
        with pytest.raises(SettingsError):
            command(tmp_path / "other", **wrong)  # type: ignore[arg-type]
