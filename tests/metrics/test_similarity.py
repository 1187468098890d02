"""SSIM, PSNR, NMSE against scikit-image and fastMRI, and where they have no obvious answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fastmri.losses import SSIMLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from dealias.metrics.similarity import nmse, psnr, ssim, ssim_map

sizes = st.integers(7, 40)
scales = st.sampled_from([1e-25, 1e-12, 1e-4, 1.0, 1e6, 1e25])


def pair(
    seed: int, h: int, w: int, scale: float, noise: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.random((h, w)) * scale
    x = np.abs(y + noise * scale * rng.standard_normal((h, w)))
    return torch.from_numpy(x), torch.from_numpy(y)


def pairs(count: int, h: int, w: int) -> tuple[torch.Tensor, torch.Tensor]:
    both = [pair(seed, h, w, 1.0) for seed in range(count)]
    return torch.stack([x for x, _ in both]), torch.stack([y for _, y in both])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), sizes, sizes, scales, st.floats(0.1, 4), st.floats(0, 2))
def test_float64_equals_scikit_image(
    seed: int, h: int, w: int, scale: float, span: float, noise: float
) -> None:
    x, y = pair(seed, h, w, scale, noise)
    data_range = span * scale
    # scikit-image squares the data as they are, so it is asked at a scale where it can
    a, b = x.numpy() / scale, y.numpy() / scale
    pad = 3
    mean, full = structural_similarity(a, b, data_range=span, full=True)
    ours = ssim_map(x, y, data_range).numpy()
    assert np.abs(ours - full[pad:-pad, pad:-pad]).max() < 1e-10
    assert abs(float(ssim(x, y, data_range)) - mean) < 1e-10
    if noise > 1e-3:
        assert float(psnr(x, y, data_range)) == pytest.approx(
            peak_signal_noise_ratio(b, a, data_range=span), abs=1e-10
        )
    assert float(nmse(x, y)) == pytest.approx(normalized_root_mse(b, a) ** 2, rel=1e-10)


@pytest.mark.parametrize("window", [3, 5, 7, 11])
def test_other_windows_and_constants_equal_scikit_image(window: int) -> None:
    x, y = pair(1, 30, 23, 1e-4)
    options = {"data_range": 1e-4, "win_size": window, "K1": 0.02, "K2": 0.05}
    theirs = structural_similarity(x.numpy(), y.numpy(), **options)
    assert float(ssim(x, y, 1e-4, window, 0.02, 0.05)) == pytest.approx(theirs, abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), sizes, sizes, scales)
def test_float32_loses_no_more_than_float32_must(seed: int, h: int, w: int, scale: float) -> None:
    x, y = pair(seed, h, w, scale)
    single = ssim(x.float(), y.float(), float(scale))
    assert single.dtype == torch.float32
    assert abs(float(single) - float(ssim(x, y, scale))) < 3e-6
    assert float(nmse(x.float(), y.float())) == pytest.approx(float(nmse(x, y)), rel=1e-5)
    noise = float(psnr(x.float(), y.float(), scale)) - float(psnr(x, y, scale))
    assert abs(noise) < 1e-4


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast_up_before_anything_else(half: torch.dtype) -> None:
    x, y = (image.to(half) for image in pair(2, 20, 20, 0.1))
    assert ssim_map(x, y, 0.1).dtype == torch.float32
    assert torch.equal(ssim_map(x, y, 0.1), ssim_map(x.float(), y.float(), 0.1))
    assert torch.equal(psnr(x, y, 0.1), psnr(x.float(), y.float(), 0.1))
    assert torch.equal(nmse(x, y), nmse(x.float(), y.float()))


def test_mixed_precision_works_in_the_better_one() -> None:
    x, y = pair(2, 20, 20, 1.0)
    assert ssim_map(x.float(), y, 1.0).dtype == torch.float64


def test_whole_numbers_are_images_too() -> None:
    x = torch.arange(81).reshape(9, 9)
    assert float(ssim(x, x, 80)) == pytest.approx(1, abs=1e-6)


def test_the_value_of_the_challenges_training_loss() -> None:
    x, y = pairs(3, 24, 20)
    span_B = torch.tensor([0.7, 1.0, 1.9], dtype=torch.float64)
    reference = SSIMLoss()
    # its window is 1/49 rounded to float32
    reference.w = torch.ones(1, 1, 7, 7, dtype=torch.float64) / 49
    theirs = reference(x[:, None], y[:, None], span_B, reduced=False)
    ours = 1 - ssim_map(x, y, span_B)
    assert torch.allclose(ours, theirs[:, 0], atol=1e-12, rtol=0)


def test_each_image_of_a_batch_has_its_own_range() -> None:
    x, y = pairs(6, 12, 15)
    spans = torch.linspace(0.5, 2, 6, dtype=torch.float64)
    batch = ssim(x.reshape(2, 3, 12, 15), y.reshape(2, 3, 12, 15), spans.reshape(2, 3))
    alone = [ssim(a, b, float(span)) for a, b, span in zip(x, y, spans, strict=True)]
    assert torch.allclose(batch.flatten(), torch.stack(alone), atol=1e-14)
    decibels = psnr(x, y, spans)
    assert torch.allclose(decibels[4], psnr(x[4], y[4], float(spans[4])))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), sizes, sizes)
def test_symmetric_bounded_and_one_for_equal_images(seed: int, h: int, w: int) -> None:
    x, y = pair(seed, h, w, 1e-4)
    assert torch.allclose(ssim_map(x, y, 1e-4), ssim_map(y, x, 1e-4), atol=1e-14)
    assert torch.allclose(ssim_map(x, x, 1e-4), torch.ones(1, dtype=x.dtype), atol=1e-12)
    assert float(ssim_map(x, y, 1e-4).abs().max()) <= 1 + 1e-12


def test_flips_and_transposes_change_nothing() -> None:
    x, y = pair(3, 17, 22, 1.0)
    value = float(ssim(x, y, 1.0))
    assert float(ssim(x.flip(0), y.flip(0), 1.0)) == pytest.approx(value, abs=1e-13)
    assert float(ssim(x.T, y.T, 1.0)) == pytest.approx(value, abs=1e-13)


def test_the_gradient_is_right() -> None:
    x, y = pair(4, 9, 10, 1e-4)
    x, y = (1e4 * x).requires_grad_(), 1e4 * y
    assert torch.autograd.gradcheck(lambda image: ssim_map(image, y, 1.3), (x,))
    assert torch.autograd.gradcheck(lambda image: psnr(image, y, 1.3), (x,))
    assert torch.autograd.gradcheck(lambda image: nmse(image, y), (x,))


def test_the_gradient_at_blank_and_at_equal_images_is_a_number() -> None:
    blank = torch.zeros(9, 9, requires_grad=True)
    (1 - ssim(blank, torch.zeros(9, 9), 0.0)).backward()
    nmse(blank, torch.zeros(9, 9)).backward()
    assert blank.grad is not None and bool(blank.grad.isfinite().all())


@pytest.mark.parametrize("span", [0.0, 1e-4, torch.tensor(0.0)])
def test_blank_against_blank_is_perfect(span: torch.Tensor | float) -> None:
    blank = torch.zeros(10, 10)
    assert float(ssim(blank, blank, span)) == 1
    assert float(nmse(blank, blank)) == 0
    assert float(psnr(blank, blank, span)) == math.inf


def test_an_image_against_a_blank_reference_is_never_good() -> None:
    image, blank = torch.full((10, 10), 1e-4), torch.zeros(10, 10)
    assert float(ssim(image, blank, 0.0)) < 1e-3
    assert float(nmse(image, blank)) == math.inf
    assert float(psnr(image, blank, 0.0)) == -math.inf


def test_nan_is_not_hidden() -> None:
    x, y = (image.float() for image in pair(5, 12, 12, 1.0))
    x[4, 4] = math.nan
    for value in (ssim(x, y, 1.0), psnr(x, y, 1.0), nmse(x, y), ssim(y, y, torch.tensor(math.nan))):
        assert math.isnan(float(value))


@pytest.mark.parametrize("span", [-1.0, math.nan, math.inf])
def test_what_is_no_range_is_refused(span: float) -> None:
    x, y = pair(6, 12, 12, 1.0)
    with pytest.raises(ValueError, match="no range"):
        ssim(x, y, span)


def test_unlike_complex_and_tiny_images_are_refused() -> None:
    x, y = pair(7, 12, 12, 1.0)
    with pytest.raises(ValueError, match="unlike"):
        ssim(x, y[:, :1], 1.0)
    with pytest.raises(ValueError, match="magnitude"):
        nmse(x.to(torch.complex128), y)
    with pytest.raises(ValueError, match="smaller than the window"):
        ssim(x[:6], y[:6], 1.0)
