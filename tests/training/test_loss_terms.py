"""Each term of the loss: closed forms, gradients, and what blank slices do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.metrics import similarity
from dealias.training.loss_terms import LOSS_TERMS

every = pytest.mark.parametrize("kind", LOSS_TERMS.names)
SIZES = {"ms-ssim": (161, 163)}
"""Of images; the others take any of 7 pixels and more."""


def images(kind: str, count: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Image, target and range of each item, no two ranges alike; no pixel of both is equal."""
    hw = SIZES.get(kind, (9, 10))
    generator = torch.Generator().manual_seed(1)
    target_BHW = torch.rand(count, *hw, generator=generator, dtype=torch.float64) + 0.5
    error_BHW = torch.rand(count, *hw, generator=generator, dtype=torch.float64) * 0.2 + 0.05
    sign_BHW = torch.where(torch.rand(count, *hw, generator=generator) > 0.5, 1, -1)
    range_B = torch.linspace(1.7, 2.9, count, dtype=torch.float64)
    return target_BHW + sign_BHW * error_BHW, target_BHW, range_B


def compared(kind: str, *tensors: Tensor) -> Tensor:
    return LOSS_TERMS[kind].compare(*tensors)


@every
def test_the_gradient_is_right(kind: str) -> None:
    image, target, span = images(kind, 2)
    if kind not in SIZES:
        image.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: compared(kind, x, target, span), (image,))
        return
    # of a large image, along a few directions that mix all of its pixels
    ways = torch.randn(3, *image.shape, generator=torch.Generator().manual_seed(2)).double()
    steps = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    moved = lambda a: image + 0.01 * torch.einsum("k,kbhw->bhw", a, ways)  # noqa: E731
    assert torch.autograd.gradcheck(lambda a: compared(kind, moved(a), target, span), (steps,))


@every
def test_the_gradient_falls_toward_the_target(kind: str) -> None:
    """And the value is smallest there."""
    image, target, span = images(kind)
    image.requires_grad_()
    found = compared(kind, image, target, span)
    found.sum().backward()
    assert image.grad is not None
    assert float((image.grad * (target - image.detach())).sum()) < 0
    assert float(compared(kind, target, target, span)) < float(found.detach())


@every
def test_two_items_are_two_of_one(kind: str) -> None:
    image, target, span = images(kind, 2)
    alone = [compared(kind, image[i : i + 1], target[i : i + 1], span[i : i + 1]) for i in (0, 1)]
    assert torch.allclose(compared(kind, image, target, span), torch.cat(alone), atol=1e-13)
    mistaken = compared(kind, image[:1], target[:1], span[1:])
    assert float((mistaken - alone[0]).abs()) > 1e-4 * float(alone[0].abs())


@every
def test_a_blank_slice_has_a_finite_loss_and_no_gradient(kind: str) -> None:
    blank = torch.zeros(1, *SIZES.get(kind, (9, 10)), requires_grad=True)
    found = compared(kind, blank, blank.detach(), torch.tensor([1e-4]))
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert blank.grad is not None and bool((blank.grad == 0).all())


def test_errors_of_one_size() -> None:
    _, target, span = images("l1")
    signs = (-1.0) ** torch.arange(10, dtype=torch.float64)
    error = 0.03 * float(span)
    found = {kind: float(compared(kind, target + error * signs, target, span))
             for kind in ("l1", "l2", "psnr")}  # fmt: skip
    assert found["l1"] == pytest.approx(0.03, rel=1e-12)
    assert found["l2"] == pytest.approx(0.03**2, rel=1e-12)
    assert found["psnr"] == pytest.approx(20 * math.log10(0.03), abs=1e-7)


def test_ssim_and_psnr_are_those_of_the_scores() -> None:
    image, target, span = images("ssim", 3)
    similar = similarity.ssim(image, target, span)
    assert torch.equal(compared("ssim", image, target, span), 1 - similar)
    decibels = similarity.psnr(image, target, span)
    assert torch.allclose(compared("psnr", image, target, span), -decibels, atol=1e-8, rtol=0)


@pytest.mark.parametrize("hw", [(8, 12), (9, 15)])
def test_kspace_is_numpys_transform(hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image, target = rng.random((2, *hw))
    shifted = np.fft.ifftshift(image - target)
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"))
    span = torch.tensor([1.7], dtype=torch.float64)
    found = compared("kspace-l1", torch.from_numpy(image)[None], torch.from_numpy(target)[None],
                     span)  # fmt: skip
    assert float(found) == pytest.approx(np.abs(kspace).mean() / 1.7, rel=1e-12)


@pytest.mark.parametrize("hw", [(8, 12), (9, 15), (32, 32)])
def test_kspace_of_one_frequency_and_of_all(hw: tuple[int, int]) -> None:
    """One pixel has a flat spectrum: its root mean square, whatever the matrix."""
    n, span = hw[0] * hw[1], torch.tensor([2.0], dtype=torch.float64)
    zero = torch.zeros(1, *hw, dtype=torch.float64)
    pixel = zero.clone()
    pixel[0, 3, 5] = 0.8
    assert float(compared("kspace-l1", pixel, zero, span)) == pytest.approx(0.4 / math.sqrt(n))
    root_mean_square = math.sqrt(float(compared("l2", pixel, zero, span)))
    assert root_mean_square == pytest.approx(0.4 / math.sqrt(n))
    # a cosine: two coefficients of amplitude x sqrt(n) / 2
    columns = torch.arange(hw[1], dtype=torch.float64)
    wave = zero + 0.8 * torch.cos(2 * math.pi * 3 * columns / hw[1])
    assert float(compared("kspace-l1", wave, zero, span)) == pytest.approx(0.4 / math.sqrt(n))


def test_images_too_small_for_five_scales_are_one_line() -> None:
    image, target, span = images("ssim")
    with pytest.raises(SettingsError, match=r"images of 9 x 10; expected at least 161 x 161"):
        compared("ms-ssim", image, target, span)
