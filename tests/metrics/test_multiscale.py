"""MS-SSIM and its mix with L1, against the formulas written anew with SciPy and scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from dealias.metrics.multiscale import ms_ssim, ms_ssim_l1


def pair(seed: int, h: int, w: int, noise: float = 0.2) -> tuple[Any, Any]:
    """A smooth image with texture, and another that is somewhat like it; range about 1."""
    rng = np.random.default_rng(seed)
    y = ndimage.gaussian_filter(rng.random((h, w)), 3)
    y = (y - y.min()) / (y.max() - y.min()) + 0.1 * rng.random((h, w))
    return np.abs(0.9 * y + noise * rng.standard_normal((h, w))), y


def mean(image: Any, sigma: float, radius: int, mode: str) -> Any:
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    for axis in (0, 1):
        image = ndimage.correlate1d(image, taps, axis, mode=mode, cval=0)
    return image


def moments(x: Any, y: Any, *window: Any) -> tuple[Any, ...]:
    mean_x, mean_y = mean(x, *window), mean(y, *window)
    variances = mean(x * x, *window) - mean_x**2 + mean(y * y, *window) - mean_y**2
    return mean_x, mean_y, variances, mean(x * y, *window) - mean_x * mean_y


def published(x: Any, y: Any, span: float) -> float:
    """Wang et al. 2003: contrasts of five scales, and all of SSIM at the coarsest."""
    found = 1.0
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            # means of pixels (i, i + 1), mirrored at the end, as the authors' code takes them
            x, y = (ndimage.uniform_filter(one, 2, mode="reflect", origin=-1)[::2, ::2]
                    for one in (x, y))  # fmt: skip
        if scale == 4:
            value = structural_similarity(
                x, y, data_range=span, gaussian_weights=True, sigma=1.5, win_size=11,
                use_sample_covariance=False,
            )  # fmt: skip
        else:
            _, _, variances, covariance = moments(x, y, 1.5, 5, "reflect")
            c2 = (0.03 * span) ** 2
            value = ((2 * covariance + c2) / (variances + c2))[5:-5, 5:-5].mean()
        found *= value**exponent
    return found


def mixed(x: Any, y: Any, span: float) -> float:
    """Zhao et al. 2017: .84 of SSIM under widening Gaussians, .16 of L1 under the widest."""
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    contrast = np.ones_like(x)
    for sigma in (0.5, 1, 2, 4, 8):
        mean_x, mean_y, variances, covariance = moments(x, y, sigma, 16, "constant")
        contrast *= (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    error = mean(np.abs(x - y), 8, 16, "constant") / span
    return float((0.84 * (1 - luminance * contrast) + 0.16 * error).mean())


def ours(function: Any, x: Any, y: Any, span: float) -> float:
    return float(function(torch.from_numpy(x), torch.from_numpy(y), span))


# odd sides at some or all of the scales: 161 -> 81 -> 41 -> 21 -> 11
@pytest.mark.parametrize("hw", [(161, 176), (190, 163)])
@pytest.mark.parametrize("span", [0.7, 1.3])
def test_ms_ssim_is_the_published_one(hw: tuple[int, int], span: float) -> None:
    x, y = pair(1, *hw)
    assert 0.2 < published(x, y, span) < 0.95
    assert ours(ms_ssim, x, y, span) == pytest.approx(published(x, y, span), abs=1e-12)


@pytest.mark.parametrize("hw", [(48, 41), (20, 33)])
def test_the_mix_is_the_published_one(hw: tuple[int, int]) -> None:
    for span in (0.7, 1.3):
        x, y = pair(2, *hw)
        assert ours(ms_ssim_l1, x, y, span) == pytest.approx(mixed(x, y, span), abs=1e-12)


def test_a_brighter_image_costs_luminance_at_the_coarsest_scale_alone() -> None:
    """Contrasts are 1, so the closed form is one exponent of one luminance."""
    y = pair(3, 161, 161)[1]
    flat, brighter = np.full_like(y, 0.5), np.full_like(y, 0.8)
    luminance = (2 * 0.5 * 0.8 + 1e-4) / (0.5**2 + 0.8**2 + 1e-4)
    assert ours(ms_ssim, brighter, flat, 1.0) == pytest.approx(luminance**0.1333, abs=1e-12)


@pytest.mark.parametrize("function", [ms_ssim, ms_ssim_l1])
def test_scale_changes_nothing_and_float32_loses_little(function: Any) -> None:
    x, y = pair(4, 165, 165)
    expected = ours(function, x, y, 1.0)
    assert ours(function, 1e-4 * x, 1e-4 * y, 1e-4) == pytest.approx(expected, abs=1e-12)
    single = function(torch.from_numpy(x).float(), torch.from_numpy(y).float(), 1.0)
    assert single.dtype == torch.float32
    assert abs(float(single) - expected) < 3e-7


@pytest.mark.parametrize("function", [ms_ssim, ms_ssim_l1])
def test_each_image_of_a_batch_has_its_own_range(function: Any) -> None:
    both = [pair(seed, 161, 161) for seed in (5, 6)]
    x, y = (torch.from_numpy(np.stack(part)) for part in zip(*both, strict=True))
    spans = torch.tensor([0.6, 1.4], dtype=torch.float64)
    alone = [ours(function, *one, float(span)) for one, span in zip(both, spans, strict=True)]
    assert function(x, y, spans).tolist() == pytest.approx(alone, abs=1e-14)
    assert alone[0] != pytest.approx(ours(function, *both[0], 1.4), abs=1e-3)


def test_opposite_structure_has_a_finite_value_and_gradient() -> None:
    """A negative mean contrast has no real power."""
    y = torch.from_numpy(pair(7, 161, 161)[1])
    x = (y.max() - y).requires_grad_()
    found = ms_ssim(x, y, 1.0)
    found.backward()
    assert 0 < float(found.detach()) < 0.05
    assert x.grad is not None and bool(x.grad.isfinite().all())


def test_nan_is_not_hidden() -> None:
    x, y = (torch.from_numpy(one) for one in pair(8, 161, 161))
    x[80, 80] = torch.nan
    assert bool(ms_ssim(x, y, 1.0).isnan())
    assert bool(ms_ssim_l1(x, y, 1.0).isnan())


def test_images_without_room_for_five_scales_are_refused() -> None:
    x, y = (torch.from_numpy(one) for one in pair(9, 160, 200))
    with pytest.raises(ValueError, match=r"\(160, 200\) is smaller than 161 x 161"):
        ms_ssim(x, y, 1.0)
