"""What a loss is a sum of: each term compares two images of one data range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.metrics.multiscale import SMALLEST, ms_ssim, ms_ssim_l1
from dealias.metrics.similarity import ssim
from dealias.physics.fourier import fft
from dealias.table import Table

PSNR_FLOOR = 1e-12
"""Added to the mean squared error, so that equal images are 120 dB apart and not infinitely."""


@dataclass(frozen=True)
class LossTerm:
    """A term.

    Attributes:
        name: As `loss.terms[].kind` has it.
        compare: (image_BHW, target_BHW, range_B) -> (B,), the smaller the better. The range is
            positive; the gradient where both images are equal is zero.
    """

    name: str
    compare: Callable[[Tensor, Tensor, Tensor], Tensor]


def l1(image_BHW: Tensor, target_BHW: Tensor, range_B: Tensor) -> Tensor:
    """Mean absolute error over the data range."""
    return torch.mean(_error(image_BHW, target_BHW, range_B).abs(), dim=(-2, -1))


def l2(image_BHW: Tensor, target_BHW: Tensor, range_B: Tensor) -> Tensor:
    """Mean squared error over the square of the data range."""
    return torch.mean(_error(image_BHW, target_BHW, range_B).square(), dim=(-2, -1))


def psnr(image_BHW: Tensor, target_BHW: Tensor, range_B: Tensor) -> Tensor:
    """Minus the peak signal-to-noise ratio, in dB; -120 for equal images."""
    return 10 * torch.log10(l2(image_BHW, target_BHW, range_B) + PSNR_FLOOR)


def kspace_l1(image_BHW: Tensor, target_BHW: Tensor, range_B: Tensor) -> Tensor:
    """Mean magnitude of the error's k-space, of the orthonormal transform over the data range.

    By Parseval it is never above the root mean squared error, which it equals for a flat spectrum,
    whatever the matrix; an error of few frequencies costs less than noise of the same energy.
    """
    kspace_BHW = fft(_error(image_BHW, target_BHW, range_B))
    return kspace_BHW.abs().mean((-2, -1))


LOSS_TERMS = Table(
    "loss term",
    (
        LossTerm("ssim", lambda image, target, span: 1 - ssim(image, target, span)),
        LossTerm("l1", l1),
        LossTerm("l2", l2),
        LossTerm("psnr", psnr),
        LossTerm("ms-ssim", lambda image, target, span: 1 - _ms_ssim(image, target, span)),
        LossTerm("ms-ssim-l1", ms_ssim_l1),
        LossTerm("kspace-l1", kspace_l1),
    ),
)


def _error(image_BHW: Tensor, target_BHW: Tensor, range_B: Tensor) -> Tensor:
    return (image_BHW - target_BHW) / range_B[:, None, None]


def _ms_ssim(image_BHW: Tensor, target_BHW: Tensor, range_B: Tensor) -> Tensor:
    h, w = image_BHW.shape[-2:]
    if min(h, w) < SMALLEST:
        expected = f"at least {SMALLEST} x {SMALLEST} for its five scales"
        do = "take ms-ssim-l1, whose windows widen instead, or ssim"
        raise SettingsError("loss term 'ms-ssim'", f"images of {h} x {w}", expected, do)
    return ms_ssim(image_BHW, target_BHW, range_B)
