"""What every network of the table must do, at its tiny configuration."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from dealias.models.network import Network, NetworkEntry
from dealias.models.table import NETWORKS
from dealias.physics.coils import rss
from dealias.physics.fourier import fft
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, measure, residual
from shared import maps_for, reached, routed

every_network = pytest.mark.parametrize("entry", list(NETWORKS), ids=lambda entry: entry.name)


def build(entry: NetworkEntry, seed: int = 0, **changes: Any) -> Network:
    torch.manual_seed(seed)
    return entry.build(entry.tiny.model_copy(update=changes))


def kspace(batch: int = 1, coils: int = 4, hw: tuple[int, int] = (32, 36), seed: int = 1,
           dtype: torch.dtype = torch.complex64) -> torch.Tensor:  # fmt: skip
    """A smooth object seen by smooth coils."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, hw[0]), torch.linspace(-1, 1, hw[1]), indexing="ij")
    angle = torch.linspace(0, 6, coils)[:, None, None]
    maps = torch.exp(-((x - angle.cos()) ** 2) - (y - angle.sin()) ** 2 + 1j * angle)
    shift = torch.rand(batch, 1, 1, 1, 1, generator=generator)
    image = ((x**2 + y**2) < 0.6) * (1 + torch.sin(9 * x + 6 * shift) * torch.cos(7 * y))
    noise = torch.randn(batch, 1, coils, *hw, dtype=torch.complex64, generator=generator)
    return (fft(image * maps) + 0.01 * noise).to(dtype)


def run(network: Network, y: torch.Tensor, acceleration: int = 4) -> torch.Tensor:
    mask = snu_mask(y.shape[-1], acceleration)
    m = measured(network, y, mask)
    return m.window(network(m).image_BHW)


def with_adjacent(y: torch.Tensor, network: Network) -> torch.Tensor:
    """A slice between others that are a little brighter and darker."""
    reach = network.needs.slices // 2
    return torch.cat([y * (1 + 0.1 * step) for step in range(-reach, reach + 1)], dim=1)


def measured(network: Network, y: torch.Tensor, mask: SamplingMask) -> Measurement:
    y = with_adjacent(y, network)
    return measured_for(network, y, mask, (y.shape[-2], y.shape[-1]))


def measured_for(
    network: Network, y: torch.Tensor, mask: SamplingMask, target: tuple[int, int]
) -> Measurement:
    masks = [mask] * len(y)
    m = measure(y, masks, target, network.needs, maps_for(network.needs, y, masks))
    return routed(network, m)


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((torch.linalg.norm(a - b) / torch.linalg.norm(b)).detach())


@every_network
def test_published_size(entry: NetworkEntry) -> None:
    with torch.device("meta"):
        network = entry.build(entry.settings())
    assert sum(p.numel() for p in network.parameters()) == entry.parameters


@every_network
@pytest.mark.parametrize("hw", [(32, 36), (33, 35), (20, 51)])
@pytest.mark.parametrize("coils", [1, 4, 20])
def test_any_size_and_coils_give_images_and_gradients(
    entry: NetworkEntry, hw: tuple[int, int], coils: int
) -> None:
    network = build(entry)
    image = run(network, kspace(2, coils, hw))
    assert image.shape == (2, *hw)
    assert (image >= 0).all()
    image.square().mean().backward()
    for name, parameter in reached(network).items():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@every_network
def test_a_batch_is_its_items(entry: NetworkEntry) -> None:
    network = build(entry).eval()
    y = kspace(2)
    y[1] *= 50
    together = run(network, y)
    alone = torch.cat([run(network, y[:1]), run(network, y[1:])])
    for item in range(2):
        assert off(together[item], alone[item]) < 1e-5


@every_network
def test_a_blank_slice_is_zero_and_a_dead_coil_is_no_harm(entry: NetworkEntry) -> None:
    network = build(entry).eval()
    y = kspace(3)
    y[0] = 0
    y[1, :, 2] = 0
    image = run(network, y)
    assert torch.isfinite(image).all()
    assert torch.equal(image[0], torch.zeros_like(image[0]))
    assert image[1].max() > 0


@every_network
def test_an_empty_mask_gives_zeros(entry: NetworkEntry) -> None:
    network = build(entry)
    y = kspace()
    empty = SamplingMask(np.zeros(36, bool), (18, 18))
    m = measured(network, y, empty)
    image = network(m).image_BHW
    assert torch.equal(image, torch.zeros_like(image))
    image.sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@every_network
@pytest.mark.parametrize("scale", [2.0**-83, 1e-25, 3e-4, 1e25])
def test_scale_goes_through(entry: NetworkEntry, scale: float) -> None:
    network = build(entry).eval()
    y = kspace()
    plain, scaled = run(network, y).double(), run(network, y * scale).double()
    assert torch.isfinite(scaled).all()
    assert off(scaled / scale, plain) < (1e-12 if scale == 2.0**-83 else 1e-4)


@every_network
def test_coils_have_no_order(entry: NetworkEntry) -> None:
    network = build(entry).eval()
    y = kspace(coils=6)
    assert off(run(network, y[:, :, [3, 1, 5, 0, 2, 4]]), run(network, y)) < 1e-5


@every_network
def test_two_instances_share_nothing_and_copies_are_their_own(entry: NetworkEntry) -> None:
    a, b = build(entry, 0), build(entry, 0)
    twin = copy.deepcopy(a)
    before = run(b, kspace()).detach()
    with torch.no_grad():
        for parameter in a.parameters():
            parameter.add_(1.0)
    assert torch.equal(run(b, kspace()), before)
    assert torch.equal(run(twin, kspace()), before)
    assert not torch.equal(run(a, kspace()), before)


@every_network
def test_the_same_seed_is_the_same_network(entry: NetworkEntry) -> None:
    assert torch.equal(run(build(entry, 3), kspace()), run(build(entry, 3), kspace()))
    assert not torch.equal(run(build(entry, 3), kspace()), run(build(entry, 4), kspace()))


@every_network
def test_it_runs_on_meta(entry: NetworkEntry) -> None:
    with torch.device("meta"):
        network = entry.build(entry.tiny)
    y = torch.empty(1, 1, 4, 32, 36, dtype=torch.complex64, device="meta")
    image = run(network, y)
    assert image.shape == (1, 32, 36)
    image.square().mean().backward()
    assert all(parameter.grad is not None for parameter in reached(network).values())


@every_network
def test_cropped_rows_leave_the_measurement_alone(entry: NetworkEntry) -> None:
    network = build(entry, readout_crop=2)
    assert network.needs == dataclasses.replace(build(entry).needs, readout_crop=2)
    y = with_adjacent(kspace(hw=(64, 36)), network)
    m = measured_for(network, y, snu_mask(36, 4), (24, 36))
    estimate = network(m)
    assert estimate.image_BHW.shape == (1, 28, 36)
    assert m.window(estimate.image_BHW).shape == (1, 24, 36)
    if estimate.coil_images_BSCHW is not None:
        centre = network.needs.slices // 2
        assert off(rss(estimate.coil_images_BSCHW[:, centre], 1), estimate.image_BHW) < 1e-6


@every_network
def test_it_learns_a_slice(entry: NetworkEntry) -> None:
    network = build(entry)
    y = kspace()
    full = SamplingMask(np.ones(36, bool), (0, 36))
    m = measured(network, y, full)
    target = m.window(m.zero_filled())
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss = (run(network, y) - target).square().mean()
        losses.append(float(loss.detach()))
        if losses[-1] < losses[0] / 3:
            return
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pytest.fail(f"after 30 steps the loss is {losses[-1] / losses[0]:.2f} of the first")


def test_varnet_without_refinement_is_zero_filled_and_has_no_residual() -> None:
    network = build(NETWORKS["varnet"])
    with torch.no_grad():
        for cascade in network.cascades:  # type: ignore[union-attr]
            cascade.denoiser.network.last.weight.zero_()
            cascade.denoiser.network.last.bias.zero_()
            cascade.denoiser.register_forward_hook(lambda module, args, out: 0 * out)
    m = measured(network, kspace(), snu_mask(36, 4))
    estimate = network(m)
    assert off(estimate.image_BHW, m.zero_filled()) < 1e-6
    assert float(residual(m, estimate).detach()) < 1e-6  # type: ignore[union-attr]


def test_varnet_takes_masks_over_both_axes() -> None:
    network = build(NETWORKS["varnet"])
    rng = np.random.default_rng(0)
    lines = rng.random((32, 36)) < 0.3
    lines[12:20, 14:22] = True
    mask = SamplingMask(lines, (14, 22), acs_rows=(12, 20))
    m = measured(network, kspace(), mask)
    image = network(m).image_BHW
    assert m.axes == (-2, -1)
    assert torch.isfinite(image).all()
    assert image.max() > 0
