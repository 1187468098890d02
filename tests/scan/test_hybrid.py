"""Readout rows from a cache are measured into the very bits that k-space is."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from dealias.errors import DataError
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.hybrid import Hybrid, power_of_two, to_hybrid
from dealias.scan.measurement import Measurement, Needs, measure


def slices(hw: tuple[int, int], scale: float) -> np.ndarray:
    """(4, C, H, W): the last slice is blank, the others differ in strength."""
    rng = np.random.default_rng(3)
    real, imaginary = rng.standard_normal((2, 4, 3, *hw))
    strength = scale * np.array([1.0, 0.3, 7.0, 0.0])[:, None, None, None]
    return (strength * (real + 1j * imaginary)).astype(np.complex64)


def mask(width: int, start: int) -> SamplingMask:
    lines = np.zeros(width, bool)
    lines[start::3] = True
    return SamplingMask(lines, (width // 2, width // 2))


def cached(kspace_ZCHW: np.ndarray, rows: tuple[int, int]) -> tuple[torch.Tensor, Hybrid]:
    parts = [to_hybrid(kspace_CHW, rows) for kspace_CHW in kspace_ZCHW]
    data = torch.from_numpy(np.stack([one[0] for one in parts]))
    peaks = torch.from_numpy(np.stack([one[1] for one in parts]))
    return data, Hybrid(rows, kspace_ZCHW.shape[2], peaks)


def assert_same_bits(a: Measurement, b: Measurement) -> None:
    for field in fields(Measurement):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y, field.name
    assert a.kspace_BSCHW.stride() == b.kspace_BSCHW.stride()


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 3.0, 1e25])
@pytest.mark.parametrize("hw", [(28, 24), (27, 25), (64, 40)])
@pytest.mark.parametrize("crop", [0, 2, None])
def test_the_measurement_has_the_same_bits(
    scale: float, hw: tuple[int, int], crop: int | None
) -> None:
    kspace_ZCHW, needs, target = slices(hw, scale), Needs(readout_crop=crop), (20, 20)
    data, hybrid = cached(kspace_ZCHW, needs.rows(hw[0], target[0]))
    # two items of two adjacent slices, one of them blank; and one item of one slice, whose layout
    # torch transforms as it is
    for index in ([[0, 2], [1, 3]], [[0]]):
        index_BS, masks = torch.tensor(index), [mask(hw[1], start) for start, _ in enumerate(index)]
        whole = measure(torch.from_numpy(kspace_ZCHW)[index_BS], masks, target, needs)
        part = Hybrid(hybrid.rows, hybrid.encoded, hybrid.peaks_BSW[index_BS])
        assert_same_bits(whole, measure(data[index_BS], masks, target, needs, hybrid=part))


def test_rows_of_a_wider_cache_are_cut_out() -> None:
    kspace_ZCHW, needs = slices((28, 24), 1e-4), Needs(readout_crop=1)
    whole = measure(torch.from_numpy(kspace_ZCHW)[:1, None], [mask(24, 0)], (20, 20), needs)
    data, hybrid = cached(kspace_ZCHW[:1], (1, 27))
    part = Hybrid(hybrid.rows, hybrid.encoded, hybrid.peaks_BSW[None])
    assert_same_bits(whole, measure(data[None], [mask(24, 0)], (20, 20), needs, hybrid=part))


def test_a_column_that_is_masked_away_has_no_say_in_the_scale() -> None:
    kspace_ZCHW = slices((28, 24), 1.0)[:1]
    kspace_ZCHW[..., 1] *= 1000
    rows = (4, 24)
    data, hybrid = cached(kspace_ZCHW, rows)
    part = Hybrid(rows, 28, hybrid.peaks_BSW[None])
    needs = Needs(readout_crop=0)
    for start in (0, 1):
        whole = measure(torch.from_numpy(kspace_ZCHW)[None], [mask(24, start)], (20, 20), needs)
        got = measure(data[None], [mask(24, start)], (20, 20), needs, hybrid=part)
        assert_same_bits(whole, got)


def test_a_cache_too_narrow_says_which_rows_it_has_and_which_are_needed() -> None:
    data, hybrid = cached(slices((28, 24), 1.0)[:1], (4, 24))
    part = Hybrid(hybrid.rows, 28, hybrid.peaks_BSW[None])
    for crop, wanted in ((1, "rows 3 to 25"), (None, "all rows")):
        with pytest.raises(DataError, match=f"rows 4 to 24 of 28; expected {wanted}.*--margin"):
            measure(data[None], [mask(24, 0)], (20, 20), Needs(readout_crop=crop), hybrid=part)


def test_two_dimensional_masks_refuse_rows() -> None:
    data, hybrid = cached(slices((28, 24), 1.0)[:1], (0, 28))
    part = Hybrid(hybrid.rows, 28, hybrid.peaks_BSW[None])
    plane = SamplingMask(np.ones((28, 24), bool), (0, 24))
    with pytest.raises(DataError, match="2-D mask"):
        measure(data[None], [plane], (20, 20), Needs(), hybrid=part)


def test_powers_of_two_are_exact_and_nothing_has_one_too() -> None:
    peaks = torch.tensor([0.0, 0.75, 1.0, 3e-30, 5e30])
    scaled = peaks * power_of_two(peaks)
    assert scaled[0] == 0
    assert ((scaled[1:] >= 0.5) & (scaled[1:] < 1)).all()
    assert torch.equal(scaled / power_of_two(peaks), peaks)
