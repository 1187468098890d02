"""Each protocol against a literal re-computation of what it promises, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skimage.metrics import structural_similarity

from dealias.errors import DataError, SettingsError
from dealias.metrics.foreground import foreground
from dealias.metrics.protocol import PROTOCOLS, protocol_named
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Box, Cell, Scan

Array = npt.NDArray[Any]
MakeScan = Callable[..., Scan]


def literal_map(x: Array, y: Array, span: float) -> Array:
    """SSIM map window by window, from the definition, in float64 of the data as they are."""
    h, w = x.shape
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    out = np.empty((h - 6, w - 6))
    for i in range(h - 6):
        for j in range(w - 6):
            a = x[i : i + 7, j : j + 7].astype(np.float64).ravel()
            b = y[i : i + 7, j : j + 7].astype(np.float64).ravel()
            covariance = np.cov(a, b, ddof=1)
            top = (2 * a.mean() * b.mean() + c1) * (2 * covariance[0, 1] + c2)
            bottom = a.mean() ** 2 + b.mean() ** 2 + c1
            out[i, j] = top / (bottom * (covariance[0, 0] + covariance[1, 1] + c2))
    return out


def ssims(scores: VolumeScores) -> list[float | None]:
    return [one.ssim for one in scores.slices]


@pytest.mark.parametrize("name", ["snu2021", "snu2025"])
def test_the_challenges_masked_score(
    name: str, volume: Array, recon: Array, make_scan: MakeScan
) -> None:
    scores = PROTOCOLS[name].score(recon, make_scan(volume))
    for z, (x, y) in enumerate(zip(recon, volume, strict=True)):
        mask = foreground(y, 5e-5)
        assert 0 < mask.sum() < mask.size
        expected = literal_map(x * mask, y * mask, float(volume.max())).mean()
        assert scores.slices[z].ssim == pytest.approx(expected, abs=1e-11)
        background_too = literal_map(x, y, float(volume.max())).mean()
        assert abs(scores.slices[z].ssim - background_too) > 1e-3


def test_the_threshold_follows_the_anatomy(
    volume: Array, recon: Array, make_scan: MakeScan
) -> None:
    knee = PROTOCOLS["snu2025"].score(recon / 4, make_scan(volume / 4, Cell("knee", 8)))
    mask = foreground(volume[0] / 4, 2e-5)
    x, y = recon[0] / 4 * mask, volume[0] / 4 * mask
    assert knee.slices[0].ssim == pytest.approx(
        literal_map(x, y, float(volume.max()) / 4).mean(), abs=1e-11
    )


def test_the_2026_score_counts_only_the_trimmed_foreground(
    volume: Array, recon: Array, make_scan: MakeScan
) -> None:
    volume[1] = 0
    scan = make_scan(volume, Cell("knee", 4))
    scores = PROTOCOLS["snu2026"].score(recon, scan)
    mask = foreground(volume[0], 2e-5)
    full = literal_map(recon[0] * mask, volume[0] * mask, float(volume.max()))
    expected = full[mask[3:-3, 3:-3]].mean()
    assert scores.slices[0].ssim == pytest.approx(expected, abs=1e-11)
    assert scores.slices[1].ssim is None
    assert scores.ssim == [scores.slices[0].ssim, scores.slices[2].ssim]


def test_boxes_are_scored_on_their_crops_and_small_ones_skipped(
    volume: Array, recon: Array, make_scan: MakeScan
) -> None:
    boxes = (
        Box(0, x=20, y=10, width=18, height=9, label="a"),
        Box(0, x=-4, y=50, width=16, height=40, label="cut at two edges"),
        Box(0, x=30, y=10, width=6, height=20, label="narrow"),
        Box(0, x=52, y=10, width=20, height=20, label="only four columns are inside"),
        Box(2, x=9, y=11, width=7, height=7, label="just large enough"),
        Box(2, x=-40, y=-40, width=20, height=20, label="outside"),
    )
    scan = make_scan(volume, Cell("knee", 4), boxes=boxes)
    scores = PROTOCOLS["snu2026-boxes"].score(recon, scan)
    span = float(volume.max())
    first = literal_map(recon[0][10:19, 20:38], volume[0][10:19, 20:38], span).mean()
    second = literal_map(recon[0][50:, :12], volume[0][50:, :12], span).mean()
    third = literal_map(recon[2][11:18, 9:16], volume[2][11:18, 9:16], span).mean()
    assert scores.slices[0].ssim == pytest.approx((first + second) / 2, abs=1e-11)
    assert scores.slices[1].ssim is None
    assert scores.slices[2].ssim == pytest.approx(third, abs=1e-11)
    assert [one.regions for one in scores.slices] == [2, 0, 1]


@pytest.fixture
def fastmri_evaluate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """fastmri.evaluate, whose running statistics are not needed here."""
    monkeypatch.setitem(sys.modules, "runstats", types.SimpleNamespace(Statistics=object))
    monkeypatch.delitem(sys.modules, "fastmri.evaluate", raising=False)
    import fastmri.evaluate

    return fastmri.evaluate


@pytest.mark.parametrize("hw", [(64, 64), (65, 64), (80, 49), (81, 48)])
def test_the_fastmri_protocol_is_fastmris_evaluation(
    hw: tuple[int, int], rng: np.random.Generator, make_scan: MakeScan, fastmri_evaluate: Any
) -> None:
    from fastmri.data.transforms import center_crop

    volume = rng.random((4, *hw)) * np.array([1, 0.3, 2, 0.1])[:, None, None] * 1e-4
    recon = volume + 1e-5 * rng.standard_normal(volume.shape)
    # a bright spot outside the crop must not set the range
    if hw[0] > hw[1] + 20:
        volume[0, 0, 0] = 1
    scores = PROTOCOLS["fastmri"].score(recon, make_scan(volume, None, None))
    gt, pred = (center_crop(images, (hw[1], hw[1])) for images in (volume, recon))
    assert np.mean(scores.ssim) == pytest.approx(fastmri_evaluate.ssim(gt, pred)[0], abs=1e-10)
    assert scores.psnr == pytest.approx(float(fastmri_evaluate.psnr(gt, pred)), abs=1e-9)
    assert scores.nmse == pytest.approx(float(fastmri_evaluate.nmse(gt, pred)), rel=1e-10)
    one = structural_similarity(gt[1], pred[1], data_range=gt.max())
    assert scores.slices[1].ssim == pytest.approx(one, abs=1e-10)


@pytest.mark.parametrize("name", PROTOCOLS.names)
def test_contract_of_every_protocol(name: str, volume: Array, make_scan: MakeScan) -> None:
    protocol = PROTOCOLS[name]
    boxes = tuple(Box(z, 10, 10, 20, 20, "") for z in range(3))
    scan = make_scan(volume, Cell(protocol.anatomies[0], 4), boxes=boxes)
    perfect = protocol.score(volume, scan)
    assert perfect.ssim == pytest.approx([1, 1, 1], abs=1e-12)
    assert (perfect.psnr, perfect.nmse) == (None, 0)
    nothing = protocol.score(np.zeros_like(volume), scan)
    assert nothing.nmse == pytest.approx(1)
    # the ladder of wrong scores: no image at all never looks good
    assert max(nothing.ssim) < (0.9 if protocol.region == "zeroed background" else 0.5)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(volume.shape)
    ladder = [
        np.mean(protocol.score(volume + sigma * noise, scan).ssim) for sigma in (1e-6, 1e-5, 1e-4)
    ]
    assert 1 > ladder[0] > ladder[1] > ladder[2]
    for word in ("win7", "range=", "crop=", "region=", "agg="):
        assert word in protocol.spec
    assert perfect.protocol == name
    assert perfect.cell == scan.cell


def test_specs_differ_as_names_do() -> None:
    specs = {protocol.spec for protocol in PROTOCOLS}
    assert len(specs) == len(PROTOCOLS.names)


@pytest.mark.parametrize("name", PROTOCOLS.names)
def test_a_blank_volume_has_a_defined_score(name: str, volume: Array, make_scan: MakeScan) -> None:
    protocol = PROTOCOLS[name]
    blank = np.zeros_like(volume)
    boxes = (Box(0, 10, 10, 20, 20, ""),)
    for data_range in (None, 0.0):
        scan = make_scan(blank, Cell(protocol.anatomies[0], 4), data_range, boxes)
        same, other = protocol.score(blank, scan), protocol.score(volume, scan)
        assert set(same.ssim) <= {1.0}
        assert same.nmse == 0
        for one in other.slices:
            assert one.ssim is None or math.isfinite(one.ssim)
            assert one.nmse is None or one.nmse == 0
    if not protocol.uses_foreground:
        assert other.ssim[0] < 0.5
        assert other.nmse is None


@pytest.mark.parametrize("wrong", [None, 1.0, 0.0, -1.0, math.nan, math.inf, 1e-5])
def test_a_stated_range_that_is_not_the_targets_maximum_is_refused(
    wrong: float | None, volume: Array, make_scan: MakeScan
) -> None:
    with pytest.raises(DataError, match=r"attribute max.*the target's maximum"):
        PROTOCOLS["snu2025"].score(volume, make_scan(volume, data_range=wrong))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_data_of_another_scale_is_refused_and_the_remedy_works(
    scale: float, volume: Array, recon: Array, make_scan: MakeScan
) -> None:
    scan = make_scan(volume * np.float32(scale))
    with pytest.raises(DataError, match="--foreground-threshold"):
        PROTOCOLS["snu2025"].score(recon * np.float32(scale), scan)
    own = PROTOCOLS["snu2025"].with_threshold(5e-5 * scale)
    scores = own.score(recon * np.float32(scale), scan)
    expected = PROTOCOLS["snu2025"].score(recon, make_scan(volume))
    assert scores.ssim == pytest.approx(expected.ssim, abs=1e-6)
    assert own.name == scores.protocol == f"snu2025@{5e-5 * scale:g}"
    assert f">{5e-5 * scale:g}" in own.spec


def test_a_foreground_of_nothing_or_of_every_pixel_is_refused(
    volume: Array, make_scan: MakeScan
) -> None:
    dim = volume / volume.max() * np.float32(3e-5)
    with pytest.raises(DataError, match=r"nothing above.*--foreground-threshold"):
        PROTOCOLS["snu2025"].score(dim, make_scan(dim))
    bright = volume + np.float32(1e-4)
    with pytest.raises(DataError, match=r"every pixel above.*--foreground-threshold"):
        PROTOCOLS["snu2025"].score(bright, make_scan(bright))


def test_an_unknown_anatomy_asks_for_it(volume: Array, make_scan: MakeScan) -> None:
    with pytest.raises(DataError, match="give --anatomy"):
        PROTOCOLS["snu2025"].score(volume, make_scan(volume, None))
    with pytest.raises(DataError, match="anatomy heart"):
        PROTOCOLS["snu2025"].score(volume, make_scan(volume, Cell("heart", 4)))
    with pytest.raises(DataError, match="anatomy knee"):
        PROTOCOLS["snu2021"].score(volume, make_scan(volume, Cell("knee", 4)))


def test_what_cannot_be_compared_is_refused(volume: Array, make_scan: MakeScan) -> None:
    protocol, scan = PROTOCOLS["fastmri"], make_scan(volume)
    for recon in (volume[:2], volume[:, :-1], volume[0]):
        with pytest.raises(DataError, match="a reconstruction of shape"):
            protocol.score(recon, scan)
    with pytest.raises(DataError, match="complex"):
        protocol.score(volume.astype(np.complex64), scan)
    with pytest.raises(DataError, match="no target"):
        protocol.score(volume, make_scan(None))
    tiny = volume[:, :6]
    with pytest.raises(DataError, match="SSIM's window"):
        protocol.score(tiny, make_scan(tiny))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_nan_is_named_with_its_slice(bad: float, volume: Array, make_scan: MakeScan) -> None:
    spoilt = volume.copy()
    spoilt[1, 5, 5] = bad
    with pytest.raises(DataError, match=r"a slice 1.*reconstruction"):
        PROTOCOLS["fastmri"].score(spoilt, make_scan(volume))
    with pytest.raises(DataError, match=r"a slice 1.*target"):
        PROTOCOLS["fastmri"].score(volume, make_scan(spoilt, data_range=1.0))


def test_names_with_thresholds() -> None:
    assert protocol_named("fastmri") is PROTOCOLS["fastmri"]
    own = PROTOCOLS["snu2025"].with_threshold(3e-5)
    assert protocol_named("snu2025@3e-05") == own == own.with_threshold(3e-5)
    assert own.with_threshold(1e-3).name == "snu2025@0.001"
    # the name holds six digits; no more of the threshold is used
    assert protocol_named(own.with_threshold(1.23456789e-5).name).threshold == 1.23457e-5
    for wrong in ("snu2025@", "snu2025@x", "snu2025@-1", "snu2025@nan", "fastmri@1", "snu"):
        with pytest.raises(SettingsError):
            protocol_named(wrong)


def test_scores_come_back_from_json() -> None:
    slices = (SliceScores(0, 0.5, None, 0.1), SliceScores(1, None, 3.0, 0.2, 0))
    scores = VolumeScores("a", Cell("knee", 8), "snu2025", slices, 30.0, None)
    assert VolumeScores.from_json(scores.to_json(), "snu2025") == scores
    nowhere = dataclasses.replace(scores, cell=None)
    assert VolumeScores.from_json(nowhere.to_json(), "snu2025") == nowhere
