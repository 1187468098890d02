"""SSIM, PSNR and NMSE, differentiable, in float32 or better."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 7
K1, K2 = 0.01, 0.03


def ssim_map(
    x: Tensor,
    y: Tensor,
    data_range: Tensor | float,
    window: int = WINDOW,
    k1: float = K1,
    k2: float = K2,
) -> Tensor:
    """Structural similarity at each position of a uniform window (Wang et al., TIP 2004).

    Sample covariances (n / (n - 1)) and a valid convolution, as scikit-image, fastMRI and the
    challenge do. Images are divided by the data range first: MR images of 1e-4 have squares of
    1e-8 and constants of 1e-12, where float32 loses digits and half precision everything.

    Args:
        x: (..., H, W) real; half precision and integers are cast up to float32.
        y: Same shape.
        data_range: Dynamic range L in the images' units, a number or (...) one for each image.
            Where it is 0 (the maximum of a blank volume) the larger of both images' magnitudes
            stands in, so blank against blank is 1 and any other image is judged on its own scale.
        window: Side of the window.
        k1: Constant of the luminance term.
        k2: Constant of the contrast term.

    Returns:
        (..., H - window + 1, W - window + 1) in [-1, 1], float32 or float64.

    Raises:
        ValueError: Unlike shapes, complex images, an image smaller than the window, or a range
            that is negative or no number.
    """
    if min(x.shape[-2:]) < window:
        raise ValueError(f"an image of {tuple(x.shape[-2:])} is smaller than the window {window}")
    x, y = over_range(x, y, data_range)
    unbiased = window**2 / (window**2 - 1)
    mean_x, mean_y = _uniform(x, window), _uniform(y, window)
    variance_x = unbiased * (_uniform(x * x, window) - mean_x * mean_x)
    variance_y = unbiased * (_uniform(y * y, window) - mean_y * mean_y)
    covariance = unbiased * (_uniform(x * y, window) - mean_x * mean_y)
    c1, c2 = k1**2, k2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def ssim(
    x: Tensor,
    y: Tensor,
    data_range: Tensor | float,
    window: int = WINDOW,
    k1: float = K1,
    k2: float = K2,
) -> Tensor:
    """Mean of `ssim_map` over each image: (...), float32 or float64."""
    return ssim_map(x, y, data_range, window, k1, k2).mean((-2, -1))


def over_range(x: Tensor, y: Tensor, data_range: Tensor | float) -> tuple[Tensor, Tensor]:
    """Both images over their data range, as `ssim_map` takes them.

    Args:
        x: (..., H, W) real.
        y: Same shape.
        data_range: See `ssim_map`, also for where it is 0.

    Returns:
        Both, in one precision of float32 or float64.

    Raises:
        ValueError: Unlike shapes, complex images, or a range that is negative or no number.
    """
    x, y = _pair(x, y)
    span = _span(data_range, x)[..., None, None]
    peak = torch.maximum(x.detach().abs(), y.detach().abs()).amax((-2, -1), keepdim=True)
    span = _no_zero(torch.where(span == 0, peak, span))
    return x / span, y / span


def psnr(x: Tensor, y: Tensor, data_range: Tensor | float) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(L^2 / MSE) over the last two axes.

    Args:
        x: (..., H, W) real.
        y: The reference, same shape.
        data_range: L, a number or (...).

    Returns:
        (...) in dB. Infinite where both are equal; minus infinity where they differ and L is 0.
    """
    x, y = _pair(x, y)
    span = _span(data_range, x)
    error = ((x - y) / _no_zero(span)[..., None, None]).square().mean((-2, -1))
    return torch.where((span == 0) & (error > 0), -math.inf, -10 * torch.log10(error))


def nmse(x: Tensor, y: Tensor) -> Tensor:
    """Normalised mean squared error ||x - y||^2 / ||y||^2 over the last two axes.

    Args:
        x: (..., H, W) real.
        y: The reference, same shape.

    Returns:
        (...) >= 0. A zero reference gives 0 for a zero image and infinity for any other.
    """
    x, y = _pair(x, y)
    peak = _no_zero(torch.maximum(x.detach().abs(), y.detach().abs()).amax((-2, -1), keepdim=True))
    norm = torch.linalg.vector_norm(y / peak, dim=(-2, -1))
    error = torch.linalg.vector_norm((x - y) / peak, dim=(-2, -1))
    ratio = (error / _no_zero(norm)).square()
    return torch.where((norm == 0) & (error > 0), math.inf, ratio)


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one precision, float32 or float64."""
    if x.shape != y.shape:
        raise ValueError(f"images of shapes {tuple(x.shape)} and {tuple(y.shape)} are unlike")
    if x.is_complex() or y.is_complex():
        raise ValueError("similarity is of magnitude images; take the magnitude first")
    double = torch.float64 in (x.dtype, y.dtype)
    precision = torch.float64 if double else torch.float32
    return x.to(precision), y.to(precision)


def _span(data_range: Tensor | float, x: Tensor) -> Tensor:
    # tensors are not looked into: that would make a GPU wait
    if not isinstance(data_range, Tensor) and not 0 <= data_range < math.inf:
        raise ValueError(f"a data range of {data_range} is no range")
    return torch.as_tensor(data_range, dtype=x.dtype, device=x.device)


def _no_zero(d: Tensor) -> Tensor:
    return torch.where(d == 0, 1, d)


def _uniform(x: Tensor, window: int) -> Tensor:
    flat = x.reshape(-1, 1, *x.shape[-2:])
    mean = F.avg_pool2d(flat, window, stride=1)
    return mean.reshape(*x.shape[:-2], *mean.shape[-2:])
