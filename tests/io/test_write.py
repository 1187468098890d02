"""Both layouts as written: keys, dtypes, shapes, attributes, checksums; read back by others."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.io.volume import Volume
from dealias.io.write_fastmri import write_fastmri
from dealias.io.write_snu import write_snu
from dealias.physics.sampling.snu import snu_mask

SHAPE, TARGET_HW = (3, 4, 24, 18), (20, 20)


def volume(**changes: object) -> Volume:
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)
    images = rng.random((2, SHAPE[0], *TARGET_HW), dtype=np.float32)
    images[:, -1, 3, 4] = 2, 3  # the largest value lies in the last slice
    made = Volume(
        name="brain_acc4_1",
        kspace_ZCHW=kspace.astype(np.complex64),
        mask=snu_mask(SHAPE[-1], 4),
        full=True,
        anatomy="brain",
        acceleration=4,
        target_ZHW=images[0],
        input_ZHW=images[1],
        attributes={"simulated": 1, "patient_id": "0a1b"},
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_the_snu_layout_is_the_challenges(tmp_path: Path) -> None:
    made = volume()
    paths = write_snu(tmp_path, "train", made)
    folders = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert folders == ["train/kspace/brain_acc4_1.h5", "train/image/brain_acc4_1.h5"]
    with h5py.File(paths[0]) as file:
        assert set(file) == {"kspace", "mask"}
        assert (file["kspace"].shape, file["kspace"].dtype) == (SHAPE, np.complex64)
        assert (file["mask"].shape, file["mask"].dtype) == ((18,), np.float32)
        np.testing.assert_array_equal(file["kspace"][:], made.kspace_ZCHW)
        np.testing.assert_array_equal(file["mask"][:], made.mask.lines)
    with h5py.File(paths[1]) as file:
        assert set(file) == {"image_input", "image_label"}  # no GRAPPA was made
        for key, image in (("image_input", made.input_ZHW), ("image_label", made.target_ZHW)):
            assert (file[key].shape, file[key].dtype) == ((3, *TARGET_HW), np.float32)
            np.testing.assert_array_equal(file[key][:], image)
        assert made.target_ZHW is not None
        assert file.attrs["max"] == made.target_ZHW.max()
        assert file.attrs["norm"] == pytest.approx(np.sqrt((made.target_ZHW**2.0).sum()), rel=1e-6)
        assert (file.attrs["acceleration"], file.attrs["anatomy"]) == (4, b"brain")
        assert file.attrs["simulated"] == 1


def test_a_grappa_image_is_written_where_there_is_one(tmp_path: Path) -> None:
    image = np.ones((3, *TARGET_HW), np.float32)
    with h5py.File(write_snu(tmp_path, "val", volume(grappa_ZHW=image))[1]) as file:
        np.testing.assert_array_equal(file["image_grappa"][:], image)


def test_fastmri_training_files_carry_no_mask(tmp_path: Path) -> None:
    path = write_fastmri(tmp_path, "train", volume(name="file1"))
    assert path == tmp_path / "multicoil_train/file1.h5"
    with h5py.File(path) as file:
        assert set(file) == {"kspace", "reconstruction_rss", "ismrmrd_header"}
        assert file["reconstruction_rss"].dtype == np.float32
        assert file.attrs["acquisition"] == b"AXT2" and file.attrs["patient_id"] == b"0a1b"
        assert file.attrs["max"] == file["reconstruction_rss"][:].max()


def test_fastmri_test_files_carry_their_mask(tmp_path: Path) -> None:
    made = volume(name="file2", full=False, target_ZHW=None, anatomy="knee")
    with h5py.File(write_fastmri(tmp_path, "test", made)) as file:
        assert set(file) == {"kspace", "mask", "ismrmrd_header"}
        np.testing.assert_array_equal(file["mask"][:], made.mask.lines)
        assert file.attrs["num_low_frequency"] == made.mask.acs_count
        assert file.attrs["acquisition"] == b"CORPD_FBK" and "max" not in file.attrs


def test_fastmris_own_reader_reads_what_we_write(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastmri.data import SliceDataset
    made = volume(name="file3")
    write_fastmri(tmp_path, "train", made)
    dataset = SliceDataset(
        tmp_path / "multicoil_train", challenge="multicoil", use_dataset_cache=False
    )
    assert len(dataset) == 3
    kspace, mask, target, metadata, name, z = dataset[1]
    assert made.target_ZHW is not None
    np.testing.assert_array_equal(kspace, made.kspace_ZCHW[1])
    np.testing.assert_array_equal(target, made.target_ZHW[1])
    assert (mask, name, z) == (None, "file3.h5", 1)
    assert metadata["encoding_size"] == (24, 18, 1)
    assert metadata["recon_size"] == (20, 20, 1)
    assert (metadata["padding_left"], metadata["padding_right"]) == (0, 18)


@pytest.mark.parametrize("write", [write_snu, write_fastmri])
def test_texts_have_a_fixed_length_and_arrays_a_checksum(tmp_path: Path, write: object) -> None:
    assert callable(write)
    write(tmp_path, "train", volume())
    for path in tmp_path.rglob("*.h5"):
        with h5py.File(path) as file:
            for name in file.attrs:
                kind = h5py.h5a.open(file.id, name.encode()).get_type()
                assert not isinstance(kind, h5py.h5t.TypeStringID) or not kind.is_variable_str()
            assert all(item.fletcher32 for item in file.values() if item.ndim)


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        hashlib.sha256(write_snu(tmp_path / part, "train", volume())[0].read_bytes()).hexdigest()
        for part in ("a", "b")
    )
    assert first == second


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    broken = volume(attributes={"odd": object()})
    with pytest.raises(TypeError):
        write_snu(tmp_path, "train", broken)
    assert not list(tmp_path.rglob("*.h5"))
