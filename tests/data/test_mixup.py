"""Mixup: an honest scan of two slices at once, and everything that follows from it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from dealias.data.augment import AugmentSettings, TransformSettings
from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_split
from dealias.data.keep import Keep
from dealias.data.mixup import Mixup
from dealias.data.remask import MaskSettings
from dealias.data.samples import Sample, Samples, collate
from dealias.data.strength import Strengths
from dealias.errors import DataError
from dealias.metrics.foreground import foreground
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.scan.measurement import Needs
from dealias.scan.scan import Cell, Scan

MIXED = AugmentSettings(mixup=0.4)
STORED = MaskSettings()
FULL, PLAIN = Strengths(1), Needs()


@pytest.fixture
def scans(root: Path) -> tuple[Scan, ...]:
    """Two brains of three slices each, of one shape."""
    return open_split(root, "train")


def sample(scans: tuple[Scan, ...], index: int = 1, augment: AugmentSettings = MIXED,
           needs: Needs = PLAIN, area: bool = False, epoch: int = 2) -> Sample:  # fmt: skip
    return Samples(scans, STORED, needs, 1, area, augment)[epoch, index, FULL]


def found_in(one: Sample, scans: tuple[Scan, ...], index: int) -> tuple[int, int, float]:
    """Scan, slice and share of the partner: by least squares over all slices there are."""
    own = scans[index // 3].kspace(index % 3)[0].ravel().astype(complex)
    mixed = one.kspace_SCHW[0].numpy().ravel().astype(complex)
    fits = {}
    for s, scan in enumerate(scans):
        for z in range(scan.slices):
            if (s, z) != (index // 3, index % 3):
                both = np.stack([own, scan.kspace(z)[0].ravel().astype(complex)], 1)
                shares, *_ = np.linalg.lstsq(both, mixed, rcond=None)
                fits[s, z] = np.linalg.norm(both @ shares - mixed), shares
    (s, z), (left, shares) = min(fits.items(), key=lambda fit: fit[1][0])
    assert left <= 1e-6 * np.linalg.norm(mixed)
    # real shares, one in all: nothing is added and nothing is lost
    assert abs(shares.sum() - 1) < 1e-6 and abs(shares.imag).max() < 1e-6
    return s, z, float(shares[0].real)


@pytest.mark.parametrize("index", range(6))
def test_a_sample_is_the_scan_of_two_slices_at_once(scans: tuple[Scan, ...], index: int) -> None:
    one = sample(scans, index)
    s, _, share = found_in(one, scans, index)
    image_HW = rss(ifft(one.kspace_SCHW[0]), 0)[4:24, 2:22]
    torch.testing.assert_close(one.target_HW, image_HW, rtol=1e-6, atol=0)
    own, other = (scan.data_range for scan in (scans[index // 3], scans[s]))
    assert own is not None and other is not None
    assert one.data_range == pytest.approx(share * own + (1 - share) * other, rel=1e-5)
    assert one.data_range >= float(one.target_HW.max())
    inside = foreground(one.target_HW.numpy(), 5e-5)
    np.testing.assert_array_equal(one.foreground_HW.numpy(), inside)
    assert one.mask == scans[index // 3].mask


def test_a_target_is_made_of_the_mixture_and_is_no_mixture_of_targets(ellipses: Scan) -> None:
    one = replace(ellipses, shape=(1, *ellipses.shape[1:]))
    negative = replace(one, source=type(one.source)(-one.kspace(0)))  # type: ignore[call-arg]
    both = (one, negative)
    plain = Samples(both, STORED, PLAIN, 1)[0, 0].target_HW
    for epoch in range(3):
        partner = Mixup(0.4, both, 1).drawn((0, 0), epoch, 0)
        assert partner is not None
        # a half of it and a half of its negative are nothing, though their targets are equal
        wanted = abs(2 * partner.share - 1) * plain
        found = Samples(both, STORED, PLAIN, 1, augment=MIXED)[epoch, 0, FULL].target_HW
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-10)


def test_shares_are_betas_and_partners_are_anyone_else(scans: tuple[Scan, ...]) -> None:
    mixup = Mixup(0.4, scans, 430)
    drawn = [mixup.drawn((0, 2), 0, index) for index in range(3000)]
    shares = [one.share for one in drawn if one is not None]
    assert len(shares) == 3000
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    places = [(one.scan, one.z) for one in drawn if one is not None]
    others = {(s, z) for s in range(2) for z in range(3)} - {(0, 2)}
    counts = [places.count(place) for place in others]
    assert sum(counts) == 3000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_draws_are_of_the_place_alone_and_strength_is_a_probability(
    scans: tuple[Scan, ...],
) -> None:
    mixup = Mixup(0.4, scans, 430)
    plain = [mixup.drawn((0, 0), 1, index) for index in range(400)]
    assert [mixup.drawn((0, 0), 1, i) for i in reversed(range(400))] == plain[::-1]
    some = [mixup.drawn((0, 0), 1, index, 0.25) for index in range(400)]
    mixed = sum(one is not None for one in some)
    assert 70 <= mixed <= 130
    assert all(one in (None, whole) for one, whole in zip(some, plain, strict=True))
    for other in (Mixup(0.4, scans, 431).drawn((0, 0), 1, 7), mixup.drawn((0, 0), 2, 7)):
        assert other != plain[7]


def test_off_or_weak_a_sample_keeps_its_bits(scans: tuple[Scan, ...]) -> None:
    plain = sample(scans, augment=AugmentSettings())
    weak = Samples(scans, STORED, Needs(), 1, augment=MIXED)[2, 1, Strengths(0)]
    for one in (weak, sample(scans[:1], augment=AugmentSettings(mixup=None))):
        for field in ("kspace_SCHW", "target_HW", "foreground_HW"):
            assert torch.equal(getattr(plain, field), getattr(one, field))
        assert one.data_range == plain.data_range


def test_only_slices_of_one_shape_and_anatomy_are_mixed(scans: tuple[Scan, ...]) -> None:
    first, second = scans
    knee = replace(second, cell=Cell("knee", 4))
    wide = replace(second, geometry=replace(second.geometry, target_hw=(18, 18)))
    for other in (knee, wide):
        drawn = [Mixup(0.4, (first, other), 1).drawn((0, 0), 0, i) for i in range(50)]
        assert {one.scan for one in drawn if one is not None} == {0}
    single = replace(first, shape=(1, *first.shape[1:]))
    assert Mixup(0.4, (single, knee), 1).drawn((0, 0), 0, 0) is None
    alone = Samples((single, knee), STORED, Needs(), 1, augment=MIXED)[2, 0, FULL]
    np.testing.assert_array_equal(alone.kspace_SCHW.numpy(), first.kspace(0))


def test_adjacent_slices_are_mixed_with_the_partners(scans: tuple[Scan, ...]) -> None:
    one = sample(scans, 1, needs=Needs(slices=3))
    middle = replace(one, kspace_SCHW=one.kspace_SCHW[1:2])
    s, z, share = found_in(middle, scans, 1)
    for place, near in enumerate((z - 1, z, z + 1)):
        near = min(max(near, 0), 2)
        wanted = share * scans[0].kspace(place)[0] + (1 - share) * scans[s].kspace(near)[0]
        off = np.abs(one.kspace_SCHW[place].numpy() - wanted).max()
        assert off <= 1e-5 * np.abs(wanted).max()


def test_the_mixture_is_moved_as_one(scans: tuple[Scan, ...]) -> None:
    flip = TransformSettings(flip_h=1)
    plain = sample(scans, augment=MIXED)
    moved = sample(scans, augment=AugmentSettings(mixup=0.4, transforms=flip))
    wanted = fft(ifft(plain.kspace_SCHW).flip(-1))
    torch.testing.assert_close(moved.kspace_SCHW, wanted, rtol=0, atol=1e-8)
    torch.testing.assert_close(moved.target_HW, plain.target_HW.flip(-1))


def test_the_area_weight_is_relative_to_both_volumes(ellipses: Scan) -> None:
    # the second volume is the first one's smallest slice
    both = (ellipses, replace(ellipses, shape=(1, *ellipses.shape[1:])))
    plain = Samples(both, STORED, PLAIN, 1)
    areas = [float(plain[0, index].foreground_HW.sum()) for index in range(4)]
    largest = (max(areas), areas[3])
    assert largest[1] == areas[0] < 0.9 * largest[0]
    samples, partners = Samples(both, STORED, PLAIN, 1, True, MIXED), set()
    for epoch in range(12):
        partner = Mixup(0.4, both, 1).drawn((0, 0), epoch, 0)
        assert partner is not None
        one = samples[epoch, 0, FULL]
        whole = round(partner.share * largest[0] + (1 - partner.share) * largest[partner.scan])
        wanted = math.sqrt(min(1.0, float(one.foreground_HW.sum()) / whole))
        assert one.area_weight == pytest.approx(wanted)
        partners.add(partner.scan)
    assert partners == {0, 1}


def test_batches_of_one_mix_and_share_batches_with_others(scans: tuple[Scan, ...]) -> None:
    samples = Samples(scans, STORED, Needs(), 1, augment=MIXED)
    batch = collate([samples[0, index, FULL] for index in range(2)])
    m = batch.measurement(Needs(), torch.device("cpu"))
    assert m.kspace_BSCHW.shape[0] == 2
    for index in range(2):
        found_in(samples[0, index, FULL], scans, index)


def test_masked_scans_are_not_mixed(scans: tuple[Scan, ...]) -> None:
    masked = replace(scans[0], full=False)
    with pytest.raises(DataError, match=r"masked already.*augment.mixup=null"):
        Samples((masked, scans[1]), STORED, Needs(), 1, augment=MIXED)


def test_a_cache_mixes_as_its_files_do(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    make_cache(plan_cache(root, Keep(1)), cache)
    crop = Needs(readout_crop=1)
    whole, cached = (
        Samples(open_split(place, "train"), STORED, crop, 1, augment=MIXED)
        for place in (root, cache)
    )
    for index in (1, 5):
        one, other = whole[2, index, FULL], cached[2, index, FULL]
        seen = [collate([s]).measurement(crop, torch.device("cpu")) for s in (one, other)]
        torch.testing.assert_close(seen[0].kspace_BSCHW, seen[1].kspace_BSCHW, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.target_HW, other.target_HW, rtol=1e-5, atol=1e-10)
        assert one.data_range == pytest.approx(other.data_range)
