"""Multi-scale SSIM: on images that are halved, or under Gaussians that widen; differentiable.

Gaussian means are products with small matrices in float64: variances are differences of large
numbers, which a GPU that is allowed to round factors would lose.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.metrics.similarity import K1, K2, over_range

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales of `ms_ssim`, the finest first."""
SIGMA, RADIUS = 1.5, 5
"""Of its window, 11 x 11."""
SMALLEST = 2 * RADIUS * 2 ** (len(EXPONENTS) - 1) + 1
"""Side of the smallest image whose coarsest scale still holds a window."""
WIDENING = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Sigmas of `ms_ssim_l1` in pixels."""
WIDE_RADIUS = 16
"""Where all its Gaussians are cut off, twice the widest sigma."""
ALPHA = 0.84
"""Share of SSIM in `ms_ssim_l1`; the rest is L1's."""
_FLOOR = 1e-6


def ms_ssim(x: Tensor, y: Tensor, data_range: Tensor | float) -> Tensor:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik, Asilomar 2003).

    Five scales, each of half the size of the one before (means of 2 x 2 pixels; an odd last row or
    column stands for itself); an 11 x 11 Gaussian window of sigma 1.5 on valid positions, and
    covariances as they are, without n / (n - 1). The means of contrast, and of full SSIM at the
    coarsest scale, are raised to their exponents and multiplied. A mean that is not positive has no
    real power: it counts as 1e-6, with no gradient of its own.

    Args:
        x: (..., H, W) real.
        y: Same shape.
        data_range: As of `ssim_map`, a number or (...).

    Returns:
        (...), at most 1; float32 or float64 as the images.

    Raises:
        ValueError: An image smaller than 161 x 161, and as `over_range` does.
    """
    if min(x.shape[-2:]) < SMALLEST:
        found, expected = tuple(x.shape[-2:]), f"{SMALLEST} x {SMALLEST}"
        raise ValueError(f"an image of {found} is smaller than {expected}, which five scales need")
    x, y = over_range(x, y, data_range)
    x_NHW, y_NHW = _flat(x), _flat(y)
    found_N = torch.ones_like(x_NHW[:, 0, 0])
    for scale, exponent in enumerate(EXPONENTS):
        if scale:
            x_NHW, y_NHW = _halved(x_NHW), _halved(y_NHW)
        moments = _Moments(x_NHW, y_NHW, (SIGMA,), RADIUS, valid=True)
        similarity_KNHW = moments.contrast()
        if scale == len(EXPONENTS) - 1:
            similarity_KNHW = similarity_KNHW * moments.luminance()
        found_N = found_N * similarity_KNHW.mean((0, -2, -1)).clamp(min=_FLOOR) ** exponent
    return found_N.reshape(x.shape[:-2]).to(x.dtype)


def ms_ssim_l1(x: Tensor, y: Tensor, data_range: Tensor | float) -> Tensor:
    """The mix of multi-scale SSIM and L1 for training (Zhao et al., IEEE TCI 3(1), 2017).

    alpha (1 - l_M prod_j cs_j) + (1 - alpha) G_M * |x - y|, meaned over the image: the contrasts
    cs_j under five Gaussians that widen on the one grid, the luminance l_M and L1 under the widest
    alone. Images are zero outside.

    Args:
        x: (..., H, W) real, of any size.
        y: Same shape.
        data_range: As of `ssim_map`, a number or (...); L1 is taken over it too.

    Returns:
        (...) >= 0, and 0 for equal images; float32 or float64 as the images.

    Raises:
        ValueError: As `over_range` does.
    """
    x, y = over_range(x, y, data_range)
    x_NHW, y_NHW = _flat(x), _flat(y)
    moments = _Moments(x_NHW, y_NHW, WIDENING, WIDE_RADIUS, valid=False)
    similarity_NHW = moments.luminance()[-1] * moments.contrast().prod(0)
    error_NHW = _blurred((x_NHW - y_NHW).abs(), WIDENING[-1:], WIDE_RADIUS, valid=False)[0]
    mix_NHW = ALPHA * (1 - similarity_NHW) + (1 - ALPHA) * error_NHW
    return mix_NHW.mean((-2, -1)).reshape(x.shape[:-2]).to(x.dtype)


class _Moments:
    """First and second moments of two images of range 1 under K Gaussians, each (K, N, H, W)."""

    def __init__(
        self, x_NHW: Tensor, y_NHW: Tensor, sigmas: tuple[float, ...], radius: int, valid: bool
    ) -> None:
        products = torch.cat((x_NHW, y_NHW, x_NHW * x_NHW, y_NHW * y_NHW, x_NHW * y_NHW))
        blurred = _blurred(products, sigmas, radius, valid)
        self.mean_x, self.mean_y, xx, yy, xy = blurred.chunk(5, 1)
        self.squares = self.mean_x.square() + self.mean_y.square()
        self.product = self.mean_x * self.mean_y
        self.variances = xx + yy - self.squares
        self.covariance = xy - self.product

    def luminance(self) -> Tensor:
        return (2 * self.product + K1**2) / (self.squares + K1**2)

    def contrast(self) -> Tensor:
        return (2 * self.covariance + K2**2) / (self.variances + K2**2)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, *x.shape[-2:]).double()


def _halved(x_NHW: Tensor) -> Tensor:
    return F.avg_pool2d(x_NHW, 2, ceil_mode=True)


def _blurred(x_NHW: Tensor, sigmas: tuple[float, ...], radius: int, valid: bool) -> Tensor:
    """Means under K Gaussians, (K, N, H, W); smaller by 2 x radius where only valid ones count."""
    along_h, along_w = (
        torch.stack([_bells(size, sigma, radius, valid, x_NHW.device) for sigma in sigmas])
        for size in x_NHW.shape[-2:]
    )
    rows = torch.einsum("kyh,nhw->knyw", along_h, x_NHW)
    return torch.einsum("knyw,kxw->knyx", rows, along_w)


def _bells(size: int, sigma: float, radius: int, valid: bool, device: torch.device) -> Tensor:
    """The matrix of a Gaussian mean along an axis, (positions, size)."""
    margin = radius if valid else 0
    centres = torch.arange(margin, size - margin, device=device)
    offsets = torch.arange(size, device=device) - centres[:, None]
    taps = torch.exp(-0.5 * (offsets.double() / sigma).square()) * (offsets.abs() <= radius)
    # of the whole window, also where it reaches over the edge: zeros stand there
    return taps / sum(math.exp(-0.5 * (one / sigma) ** 2) for one in range(-radius, radius + 1))
