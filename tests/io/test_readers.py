"""Both layouts: what is told from content, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dealias.errors import DataError
from dealias.io.open import open_scan
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Cell

SHAPE = (2, 3, 24, 48)


def kspace() -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)).astype(np.complex64)


def snu(
    folder: Path, lines: np.ndarray | None = None, apply: bool = False, **images: np.ndarray
) -> tuple[Path, Path]:
    paths = folder / "kspace" / "knee_acc4_7.h5", folder / "image" / "knee_acc4_7.h5"
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    values = kspace()
    with h5py.File(paths[0], "w") as file:
        file["kspace"] = values if lines is None or not apply else values * lines
        if lines is not None:
            file["mask"] = lines.astype(np.float32)
    with h5py.File(paths[1], "w") as file:
        for key, value in images.items():
            file[key] = value
        file.attrs["max"] = np.float32(7)
    return paths


LABEL = np.ones((2, 20, 20), np.float32)
MASK = snu_mask(48, 4)


def test_full_and_masked_are_told_from_the_samples(tmp_path: Path) -> None:
    full = open_scan(*snu(tmp_path / "a", lines=MASK.lines, image_label=LABEL))
    masked = open_scan(*snu(tmp_path / "b", lines=MASK.lines, apply=True, image_label=LABEL))
    assert (full.full, masked.full) == (True, False)
    assert full.mask == masked.mask == MASK
    assert full.data_range == 7
    assert full.geometry.target_hw == (20, 20)


def test_a_masked_scan_without_a_stored_mask_has_it_identified(tmp_path: Path) -> None:
    path, _ = snu(tmp_path, image_label=LABEL)
    with h5py.File(path, "a") as file:
        file["kspace"][...] = kspace() * MASK.lines
    scan = open_scan(path)
    assert not scan.full
    assert scan.mask == MASK
    assert (scan.mask.family, scan.mask.acs) == ("snu", MASK.acs)  # type: ignore[union-attr]


def test_padding_at_the_edges_is_no_undersampling(tmp_path: Path) -> None:
    path, _ = snu(tmp_path, image_label=LABEL)
    with h5py.File(path, "a") as file:
        file["kspace"][..., :3] = 0
        file["kspace"][..., -2:] = 0
    scan = open_scan(path)
    assert scan.full
    assert scan.mask is None


def test_labels_come_from_attributes_before_names(tmp_path: Path) -> None:
    paths = snu(tmp_path, lines=MASK.lines, image_label=LABEL)
    assert open_scan(*paths).cell == Cell("knee", 4)
    with h5py.File(paths[0], "a") as file:
        file.attrs["anatomy"], file.attrs["acceleration"] = np.bytes_("brain"), 8
    assert open_scan(*paths).cell == Cell("brain", 8)


def test_images_must_fit_their_k_space(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shape \(3, 20, 20\).*2 slices.*pair each image file"):
        open_scan(*snu(tmp_path / "a", image_label=np.ones((3, 20, 20), np.float32)))
    with pytest.raises(DataError, match="image_lable; expected image_label"):
        open_scan(*snu(tmp_path / "b", image_lable=LABEL))
    with pytest.raises(DataError, match="shape"):
        open_scan(*snu(tmp_path / "c", image_label=LABEL[0]))


def test_fastmris_layout_is_told_from_its_target(tmp_path: Path) -> None:
    path = tmp_path / "file1000001.h5"
    values = kspace()
    target = rss(ifft(torch.from_numpy(values)), 1).numpy()[:, 2:22, 14:34]
    with h5py.File(path, "w") as file:
        file["kspace"], file["reconstruction_rss"] = values, target
        file.attrs["max"] = target.max()
        file.attrs["acquisition"] = "AXT2"
    scan = open_scan(path)
    assert scan.full
    assert scan.mask is None
    assert scan.data_range == target.max()
    np.testing.assert_array_equal(scan.image("target", 1), target[1:2])
    np.testing.assert_array_equal(scan.kspace(1), values[1:2])


def test_a_renamed_file_is_the_same_scan(tmp_path: Path) -> None:
    path, _ = snu(tmp_path, image_label=LABEL)
    before = open_scan(path).id
    other = path.rename(path.with_name("qwertz.h5"))
    assert open_scan(other).id == before
    with h5py.File(other, "a") as file:
        file["kspace"][1, 0, 3, 3] *= 2
    assert open_scan(other).id != before


IMAGES = {
    "no rank": (np.float32(1), r"shape \(\)"),
    "one slice": (LABEL[0], r"shape \(20, 20\); expected \(2, H, W\)"),
    "more slices": (np.ones((3, 20, 20), np.float32), "as k-space has 2 slices; pair each"),
    "a zero axis": (np.ones((2, 0, 20), np.float32), r"shape \(2, 0, 20\)"),
    "complex": (LABEL.astype(np.complex64), "complex64; expected real numbers; store magnitudes"),
    "booleans": (LABEL.astype(bool), "bool; expected real numbers"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_targets_of_both_layouts_are_looked_at(tmp_path: Path, case: str) -> None:
    value, said = IMAGES[case]
    kspace_path, image_path = snu(tmp_path, image_label=value)
    with pytest.raises(
        DataError, match=f"'image_label': found {said}" if case != "more slices" else said
    ):
        open_scan(kspace_path, image_path)
    with h5py.File(kspace_path, "a") as file:
        file["reconstruction_rss"] = value
    with pytest.raises(DataError, match=said) as caught:
        open_scan(kspace_path)
    assert str(caught.value).startswith(f"{kspace_path}: dataset 'reconstruction_rss': found")


def test_images_of_one_volume_share_a_grid(tmp_path: Path) -> None:
    paths = snu(tmp_path, image_label=LABEL, image_input=LABEL[:, 1:])
    said = r"'image_input': found shape \(2, 19, 20\); expected \(2, 20, 20\), as 'image_label'"
    with pytest.raises(DataError, match=said):
        open_scan(*paths)


@pytest.mark.parametrize("dtype", [">f4", np.float64, np.float16, np.int16])
def test_images_of_any_real_type_are_read_as_float32(tmp_path: Path, dtype: object) -> None:
    scan = open_scan(*snu(tmp_path, image_label=(LABEL * 7).astype(dtype)))  # type: ignore[arg-type]
    image = scan.image("target", 1)
    assert image is not None
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, 7 * LABEL[1:])


def test_a_blank_middle_slice_does_not_decide(tmp_path: Path) -> None:
    for name, lines, apply in (
        ("a", None, True),
        ("b", MASK.lines, False),
        ("c", MASK.lines, True),
    ):
        path, _ = snu(tmp_path / name, lines=lines, apply=apply)
        with h5py.File(path, "a") as file:
            file["kspace"][1] = 0
            if name == "a":
                file["kspace"][0] *= MASK.lines
        scan = open_scan(path)
        assert (scan.mask, scan.full) == (MASK, name == "b"), name


@pytest.mark.parametrize("apply", [False, True])
def test_a_dead_first_coil_does_not_decide(tmp_path: Path, apply: bool) -> None:
    path, _ = snu(tmp_path, lines=MASK.lines, apply=apply)
    with h5py.File(path, "a") as file:
        file["kspace"][:, 0] = 0
    assert open_scan(path).full is not apply


@pytest.mark.parametrize("lines", [np.ones(48), snu_mask(48, 8).lines])
def test_k_space_under_another_mask_is_not_called_full(tmp_path: Path, lines: np.ndarray) -> None:
    path, _ = snu(tmp_path, lines=MASK.lines, apply=True)
    with h5py.File(path, "a") as file:
        file["mask"][...] = lines
    with pytest.raises(DataError, match="'mask': found another mask than the one.*or none: it is"):
        open_scan(path)
    with h5py.File(path, "a") as file:
        del file["mask"]
    assert open_scan(path).mask == MASK  # the advice holds
