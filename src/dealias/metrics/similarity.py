"""SSIM, PSNR and NMSE, differentiable, in float32 or better."""

from __future__ import annotations

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
    """Structural similarity at each position of a uniform window (Wang et al. 2004).

    Sample covariances (n / (n - 1)) and a valid convolution, as scikit-image and the challenge do.
    Images are divided by the data range first: at 1e-4 their squares would lose digits.

    Args:
        x: (..., H, W) real.
        y: Same shape.
        data_range: Dynamic range L: a number, or (...) one for each image; > 0.
        window: Side of the window.
        k1: Constant of the luminance term.
        k2: Constant of the contrast term.

    Returns:
        (..., H - window + 1, W - window + 1) in [-1, 1], float32 or float64.
    """
    x, y = at_least_single(x), at_least_single(y)
    span = torch.as_tensor(data_range, dtype=x.dtype, device=x.device)[..., None, None]
    x, y = x / span, y / span
    samples = window**2
    mean_x, mean_y = _uniform(x, window), _uniform(y, window)
    unbiased = samples / (samples - 1)
    variance_x = unbiased * (_uniform(x * x, window) - mean_x * mean_x)
    variance_y = unbiased * (_uniform(y * y, window) - mean_y * mean_y)
    covariance = unbiased * (_uniform(x * y, window) - mean_x * mean_y)
    c1, c2 = k1**2, k2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def ssim(x: Tensor, y: Tensor, data_range: Tensor | float) -> Tensor:
    """Mean of `ssim_map` over each image: (...)."""
    return ssim_map(x, y, data_range).mean((-2, -1))


def psnr(x: Tensor, y: Tensor, data_range: Tensor | float) -> Tensor:
    """Peak signal-to-noise ratio in dB of x against the reference y over the last two axes.

    Infinite where both are equal.
    """
    x, y = at_least_single(x), at_least_single(y)
    span = torch.as_tensor(data_range, dtype=x.dtype, device=x.device)
    error = ((x - y) / span[..., None, None]).square().mean((-2, -1))
    return -10 * torch.log10(error)


def nmse(x: Tensor, y: Tensor) -> Tensor:
    """Normalised mean squared error ||x - y||^2 / ||y||^2 over the last two axes.

    A zero reference gives 0 for a zero image and infinity for any other.
    """
    x, y = at_least_single(x), at_least_single(y)
    norm = torch.linalg.vector_norm(y, dim=(-2, -1))
    error = torch.linalg.vector_norm(x - y, dim=(-2, -1))
    return torch.where(error == 0, torch.zeros_like(error), (error / norm).square())


def at_least_single(x: Tensor) -> Tensor:
    """Half precision cast up to float32; others unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _uniform(x: Tensor, window: int) -> Tensor:
    flat = x.reshape(-1, 1, *x.shape[-2:])
    mean = F.avg_pool2d(flat, window, stride=1)
    return mean.reshape(*x.shape[:-2], *mean.shape[-2:])
