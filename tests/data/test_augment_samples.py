"""Augmented samples: everything that follows from the images follows the augmented ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from dealias.config.compose import recipe_from
from dealias.config.strict import read_yaml
from dealias.data.augment import AugmentSettings, TransformSettings
from dealias.data.augment_slices import augmented
from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_split
from dealias.data.keep import Keep
from dealias.data.remask import MaskSettings
from dealias.data.samples import Sample, Samples, collate
from dealias.data.strength import Strengths, StrengthSettings
from dealias.errors import DataError
from dealias.io.cached import CachedVolume
from dealias.metrics.foreground import foreground
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.warp import Affine, Transform
from dealias.runs.hooks import Hooks
from dealias.runs.train import start
from dealias.scan.maps import espirit_maps
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan
from dealias.training.job import TrainingJob

STORED = MaskSettings()
FLIP = AugmentSettings(transforms=TransformSettings(flip_h=1))
WARP = AugmentSettings(
    transforms=TransformSettings(
        flip_v=1, translation=1, rotation=1, scaling=1, max_translation=(0.1, 0.1), max_rotation=15
    ),
    interpolation="bicubic",
)
NONE, FULL = Strengths(0), Strengths(1)
PLAIN, CROP = Needs(), Needs(readout_crop=1)


@pytest.fixture
def scan(root: Path) -> Scan:
    return open_split(root, "train")[0]


def sample(scan: Scan, augment: AugmentSettings, index: int = 1, needs: Needs = PLAIN,
           strengths: Strengths = FULL, area: bool = False) -> Sample:  # fmt: skip
    return Samples([scan], STORED, needs, 1, area, augment)[2, index, strengths]


def image_of(one: Sample, s: int = 0) -> torch.Tensor:
    """What its k-space shows on the target's grid."""
    return rss(ifft(one.kspace_SCHW[s]), 0)[4:24, 2:22]


def test_without_strength_a_sample_is_as_it_was(scan: Scan) -> None:
    plain, weak = sample(scan, AugmentSettings()), sample(scan, WARP, strengths=NONE)
    for field in ("kspace_SCHW", "target_HW", "foreground_HW"):
        assert torch.equal(getattr(plain, field), getattr(weak, field))
    np.testing.assert_array_equal(weak.kspace_SCHW.numpy(), scan.kspace(1))
    assert (plain.mask, plain.data_range) == (weak.mask, weak.data_range)
    strong = sample(scan, WARP)
    assert strong.mask == plain.mask
    assert not torch.allclose(strong.target_HW, plain.target_HW, rtol=0.1)


def test_a_flip_flips_everything_and_leaves_the_range(scan: Scan) -> None:
    plain, flipped = sample(scan, AugmentSettings()), sample(scan, FLIP)
    torch.testing.assert_close(flipped.target_HW, plain.target_HW.flip(-1), rtol=1e-5, atol=0)
    assert torch.equal(flipped.foreground_HW, plain.foreground_HW.flip(-1))
    assert flipped.data_range == plain.data_range
    torch.testing.assert_close(image_of(flipped), flipped.target_HW, rtol=1e-5, atol=1e-10)


def test_target_range_and_foreground_belong_to_the_augmented_kspace(ellipses: Scan) -> None:
    plain = [sample(ellipses, AugmentSettings(), index) for index in range(3)]
    for index, before in enumerate(plain):
        one = sample(ellipses, WARP, index)
        whole = rss(ifft(one.kspace_SCHW[0]), 0)
        torch.testing.assert_close(whole[8:104, 4:92], one.target_HW, rtol=1e-5, atol=1e-9)
        gain = float(one.target_HW.max() / before.target_HW.max())
        assert one.data_range == pytest.approx(before.data_range * gain, rel=1e-5)
        assert one.data_range != before.data_range
        inside = foreground(one.target_HW.numpy(), 5e-5)
        np.testing.assert_array_equal(one.foreground_HW.numpy(), inside)
        assert not torch.equal(one.foreground_HW, before.foreground_HW)
    brightest = sample(ellipses, WARP, 1)
    assert plain[1].data_range == float(plain[1].target_HW.max())
    assert brightest.data_range == pytest.approx(float(brightest.target_HW.max()), rel=1e-5)


def test_the_area_weight_is_of_the_augmented_foreground(ellipses: Scan) -> None:
    scaled = AugmentSettings(transforms=TransformSettings(scaling=1, max_scaling=0.4))
    plain = [sample(ellipses, AugmentSettings(), i, area=True) for i in range(3)]
    largest = max(float(one.foreground_HW.sum()) for one in plain)
    found = [sample(ellipses, scaled, i, area=True) for i in range(3)]
    for one in found:
        share = min(1.0, float(one.foreground_HW.sum()) / largest)
        assert one.area_weight == pytest.approx(math.sqrt(share))
    assert found[0].area_weight != plain[0].area_weight


def test_a_blank_slice_stays_blank() -> None:
    made = augmented(torch.zeros(1, 2, 8, 8, dtype=torch.complex64),
                     Transform(affine=Affine(5)), WARP, (8, 8))  # fmt: skip
    assert made.gain == 1
    assert not made.kspace_SCHW.any() and not made.target_HW.any()


def test_adjacent_slices_move_together(scan: Scan) -> None:
    one = sample(scan, WARP, 1, Needs(slices=3))
    transform = Samples([scan], STORED, Needs(), 1, augment=WARP)._transform(scan, 2, 1, 1.0)
    for s in range(3):
        alone = augmented(torch.from_numpy(scan.kspace(s)), transform, WARP, (20, 20))
        torch.testing.assert_close(one.kspace_SCHW[s], alone.kspace_SCHW[0], rtol=0, atol=1e-9)
        if s == 1:
            torch.testing.assert_close(one.target_HW, alone.target_HW)


def test_draws_are_of_the_place_alone(root: Path) -> None:
    scans = open_split(root, "train")
    a, b = (Samples(scans, STORED, Needs(), seed, augment=WARP) for seed in (1, 1))
    for index in (4, 0, 4):
        assert torch.equal(a[3, index, FULL].kspace_SCHW, b[3, index, FULL].kspace_SCHW)
    others = (a[2, 4], a[3, 1], Samples(scans, STORED, Needs(), 2, augment=WARP)[3, 4])
    assert all(not torch.equal(a[3, 4].target_HW, other.target_HW) for other in others)


def test_a_scan_gets_its_anatomys_augmentation(scan: Scan) -> None:
    settings = AugmentSettings(knee=WARP.transforms, transforms=FLIP.transforms)
    found, flipped = sample(scan, settings), sample(scan, FLIP)
    assert torch.equal(found.target_HW, flipped.target_HW)


def test_masked_scans_are_refused(root: Path) -> None:
    masked = open_split(root, "leaderboard/acc4")
    Samples(masked, STORED, Needs(), 1, augment=AugmentSettings(knee=WARP.transforms))
    with pytest.raises(DataError, match=r"masked already; expected fully sampled k-space"):
        Samples(masked, STORED, Needs(), 1, augment=FLIP)


def test_a_target_that_kspace_does_not_tell_is_refused(
    root: Path, spoil: Callable[..., Path]
) -> None:
    def filtered(file: h5py.File) -> None:
        file["image_label"][1] *= np.float32(1.02)

    spoil(filtered, "image")
    scan = open_split(root, "train")[0]
    sample(scan, FLIP, 0)
    with pytest.raises(DataError, match=r"brain_acc4_0: found slice 1: a target up to"):
        sample(scan, FLIP, 1)


def test_maps_are_made_of_the_augmented_kspace(scan: Scan) -> None:
    one = sample(scan, WARP, needs=Needs(maps="espirit"))
    assert one.sens_SCHW is not None
    wanted = espirit_maps(one.kspace_SCHW[None], [one.mask], "a")[0]
    assert torch.equal(one.sens_SCHW, wanted)


def test_stored_images_are_not_those_of_a_moved_slice(
    root: Path, spoil: Callable[..., Path]
) -> None:
    def add(file: h5py.File) -> None:
        file["image_grappa"] = np.ones((3, 20, 20), np.float32)

    spoil(add, "image")
    scan, needs = open_split(root, "train")[0], Needs(priors=("grappa",), stored_priors=True)
    assert set(sample(scan, WARP, needs=needs, strengths=NONE).stored) == {"grappa"}
    one = sample(scan, WARP, needs=needs)
    assert one.stored == {}
    m = collate([one]).measurement(needs, torch.device("cpu"))
    made = collate([replace(one)]).measurement(Needs(priors=("grappa",)), torch.device("cpu"))
    assert torch.equal(m.priors["grappa"], made.priors["grappa"])


@pytest.mark.parametrize(("augment", "keep"), [(WARP, Keep("all")), (FLIP, Keep(rows=23))])
def test_a_cached_scan_is_augmented_as_its_files_are(
    augment: Any, keep: Keep, root: Path, tmp_path: Path
) -> None:
    make_cache(plan_cache(root, keep), tmp_path / "cache")
    seen = []
    for data in (root, tmp_path / "cache"):
        samples = Samples(open_split(data, "train"), STORED, CROP, 1, augment=augment)
        batch = collate([samples[2, index] for index in (1, 4)])
        m = batch.measurement(CROP, torch.device("cpu"))
        seen.append((m.kspace_BSCHW / m.scale_B[:, None, None, None, None], batch))
    (files, a), (cached, b) = seen
    torch.testing.assert_close(cached, files, rtol=0, atol=1e-6 * float(files.abs().max()))
    torch.testing.assert_close(b.target_BHW, a.target_BHW, rtol=1e-5, atol=1e-10)
    assert torch.equal(b.foreground_BHW, a.foreground_BHW)
    torch.testing.assert_close(b.range_B, a.range_B)


def test_a_caches_foreground_is_not_that_of_a_moved_slice(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cache(plan_cache(root, Keep("all")), tmp_path / "cache")
    none = np.zeros((20, 20), bool)
    monkeypatch.setattr(CachedVolume, "foreground", lambda self, z, threshold: none)
    scan = open_split(tmp_path / "cache", "train")[0]
    assert not sample(scan, FLIP, strengths=NONE).foreground_HW.any()
    flipped = sample(open_split(root, "train")[0], FLIP)
    assert torch.equal(sample(scan, FLIP).foreground_HW, flipped.foreground_HW)


def test_a_cache_too_narrow_for_what_moves_rows_is_refused(root: Path, tmp_path: Path) -> None:
    make_cache(plan_cache(root, Keep(2)), tmp_path / "cache")
    scans = open_split(tmp_path / "cache", "train")
    with pytest.raises(DataError, match=r"rows 2 to 26 of 28; expected all rows.*augmentation"):
        Samples(scans, STORED, CROP, 1, augment=WARP)
    Samples(scans, STORED, CROP, 1, augment=AugmentSettings(knee=WARP.transforms))


class Caught(Exception):
    pass


def begin(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> TrainingJob:
    """The job that a recipe with these overrides comes to."""
    jobs: list[TrainingJob] = []

    def caught(job: TrainingJob) -> None:
        jobs.append(job)
        raise Caught

    monkeypatch.setattr("dealias.runs.train.train", caught)
    with pytest.raises(Caught):
        start("varnet", root, out, [*TINY, *overrides], torch.device("cpu"), Hooks())
    return jobs[0]


TINY = ["network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_pools=1"]
OVERRIDES = ["augment.knee.flip_h=0.25", "augment.brain.max_shear=[1,2]",
             "augment.strength.kind=linear", "augment.strength.until=9"]  # fmt: skip


def test_a_recipes_augmentation_reaches_its_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(root, tmp_path / "run", monkeypatch, *OVERRIDES)
    assert job.augment.of("knee") == TransformSettings(flip_h=0.25)
    assert job.augment.of("brain") == TransformSettings(max_shear=(1, 2))
    assert job.augment.strength == StrengthSettings(kind="linear", until=9)
    again = recipe_from(read_yaml(tmp_path / "run" / "settings.yaml"), [], "settings")
    assert again.augment == job.augment
    assert begin(root, tmp_path / "plain", monkeypatch).augment == AugmentSettings()


def test_what_cannot_be_augmented_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path
) -> None:
    out, masked = tmp_path / "run", "data.train=leaderboard/acc4"
    overrides = [*TINY, masked, "augment.transforms.flip_v=1"]
    with pytest.raises(DataError, match="masked already; expected fully sampled"):
        start("varnet", root, out, overrides, torch.device("cpu"), Hooks())
    assert not out.exists()
