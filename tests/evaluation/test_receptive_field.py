"""The receptive field in k-space, against closed forms and against a finite difference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.classical.iterative import ZeroFilled
from dealias.evaluation.receptive_field import receptive_field
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Estimate, Measurement, Needs, measure

H, W, TARGET = 18, 14, (12, 10)


def kspace(seed: int = 0, coils: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1e-3 * torch.randn(1, 1, coils, H, W, dtype=torch.complex128, generator=generator)


def mask_of(two: bool) -> SamplingMask:
    rng = np.random.default_rng(4)
    lines = rng.random((H, W) if two else W) < 0.5
    lines[..., W // 2 - 1 : W // 2 + 1] = True
    return SamplingMask(lines, (W // 2 - 1, W // 2 + 1))


@pytest.mark.parametrize("two", [False, True])
def test_of_zero_filling_it_is_the_mask(two: bool) -> None:
    mask = mask_of(two)
    measurement = measure(kspace(), [mask], TARGET, Needs())
    field_HW = receptive_field(ZeroFilled(), measurement, H)
    # |d sqrt(sum |x_c|^2) / d k_c(q)| = |x_c| / image / sqrt(H W): the same for every sample
    expected = np.broadcast_to(mask.lines / np.sqrt(H * W), (H, W))
    np.testing.assert_allclose(field_HW.numpy(), expected, atol=1e-14)


class Smooth:
    """Zero filling through a known filter of k-space, on fewer rows of the readout."""

    def __init__(self, crop: int | None) -> None:
        self.needs = Needs(readout_crop=crop)
        self.filter_W = torch.exp(-(((torch.arange(W).double() - 5) / 3) ** 2))

    def __call__(self, measurement: Measurement) -> Estimate:
        images = ifft(measurement.kspace_BSCHW * self.filter_W, measurement.axes)
        return Estimate(rss(images[:, 0], coil_axis=1))


@pytest.mark.parametrize("crop", [None, 0, 2])
def test_a_filter_is_found_again_whatever_the_readout_is_cropped_to(crop: int | None) -> None:
    model, mask = Smooth(crop), mask_of(False)
    measurement = measure(kspace(), [mask], TARGET, model.needs)
    assert measurement.kspace_BSCHW.shape[-2] == (H if crop is None else TARGET[0] + 2 * crop)
    expected = model.filter_W.numpy() * mask.lines / np.sqrt(H * W)
    found_HW = receptive_field(model, measurement, H).numpy()
    np.testing.assert_allclose(found_HW, np.broadcast_to(expected, (H, W)), atol=1e-14)


@pytest.mark.parametrize("crop", [None, 1])
def test_of_a_network_it_is_what_a_small_change_does(crop: int | None) -> None:
    torch.manual_seed(3)
    settings = VarNetSettings(
        cascades=1, channels=2, pools=1, sens_channels=2, sens_pools=1, readout_crop=crop
    )
    network, mask, given = VarNet(settings).double().eval(), mask_of(False), kspace(1)
    measurement = measure(given, [mask], TARGET, network.needs)
    field_HW = receptive_field(network, measurement, H)
    assert not any(p.grad is not None for p in network.parameters())

    def pixel(change: Tensor) -> float:
        # the same power of two, so that the network sees the same problem
        seen = measure(given + change, [mask], TARGET, network.needs)
        assert torch.equal(seen.scale_B, measurement.scale_B)
        with torch.no_grad():
            image_BHW = seen.window(network(seen).image_BHW)
        return float(image_BHW[0, TARGET[0] // 2, TARGET[1] // 2])

    size = 1e-8
    sampled = int(np.flatnonzero(mask.lines)[0])
    for h, w in ((H // 2, W // 2), (3, sampled)):
        slopes = []
        for coil in range(3):
            for unit in (1, 1j):
                change = torch.zeros_like(given)
                change[0, 0, coil, h, w] = unit * size
                slopes.append((pixel(change) - pixel(-change)) / (2 * size))
        assert float(field_HW[h, w]) == pytest.approx(np.linalg.norm(slopes), rel=1e-4)
    assert not field_HW[:, ~mask.lines].any()


def test_it_does_not_depend_on_the_scale_of_the_data() -> None:
    mask = mask_of(False)
    fields = [
        receptive_field(ZeroFilled(), measure(factor * kspace(), [mask], TARGET, Needs()), H)
        for factor in (1.0, 2.0**20)
    ]
    assert torch.equal(*fields)
    measurement = measure(kspace(), [mask], TARGET, Needs())
    two = dataclasses.replace(measurement, scale_B=2 * measurement.scale_B,
                              kspace_BSCHW=2 * measurement.kspace_BSCHW)  # fmt: skip
    assert torch.equal(fields[0], receptive_field(ZeroFilled(), two, H))
