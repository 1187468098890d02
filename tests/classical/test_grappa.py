"""GRAPPA against pygrappa, and what must hold of any: measured samples stay, blank stays blank."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dealias.classical.grappa import Grappa
from dealias.errors import DataError
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.sampling.fastmri import equispaced_mask, random_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner
from dealias.scan.measurement import Measurement, Needs, measure

HW = (96, 120)


@pytest.fixture(scope="module", params=["brain", "knee"])
def kspace(request: pytest.FixtureRequest) -> torch.Tensor:
    """(C, H, W) of a simulated scan."""
    scanner = Scanner(HW, HW, 10, snr=60, signal=1.0)
    body = render(request.param, Subject(430, 3), scanner.grid(), np.array([0.0]))
    return torch.from_numpy(scanner.acquire(body, np.random.default_rng(2))[0])


def measured(kspace_CHW: torch.Tensor, mask: SamplingMask) -> Measurement:
    hw = (kspace_CHW.shape[1], kspace_CHW.shape[2])
    return measure(kspace_CHW[None, None], [mask], hw, Needs())


def nmse(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(((a - b).abs() ** 2).sum() / (b.abs() ** 2).sum())


def pygrappas(kspace_CHW: torch.Tensor, mask: SamplingMask, rate: int) -> torch.Tensor:
    """RSS by pygrappa with windows in which a kernel meets two measured lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pygrappa import grappa

    masked = (kspace_CHW * torch.from_numpy(mask.lines.copy())).numpy()
    calibration = masked[:, :, slice(*mask.acs)]
    filled = grappa(masked, calibration, (5, 2 * rate + 1), coil_axis=0, lamda=0.01)
    return rss(ifft(torch.from_numpy(np.ascontiguousarray(filled.astype(np.complex64)))), 0)


def test_pygrappa_agrees(kspace: torch.Tensor) -> None:
    # 12 ACS lines: kernels that meet two lattice lines, as pygrappa's windows do
    mask = equispaced_mask(HW[1], 4, 12 / HW[1], 1)
    theirs = pygrappas(kspace, mask, 4)
    m = measured(kspace, mask)
    ours = m.window(Grappa()(m).image_BHW)[0]
    assert nmse(ours, theirs) < 5e-4
    full = rss(ifft(kspace), 0)
    assert nmse(ours, full) < 1.02 * nmse(theirs, full)


def test_it_is_no_worse_than_pygrappa_on_a_real_brain(real_data: Path) -> None:
    with h5py.File(real_data / "brain4ch_t2_tugraz_gpunufft.h5") as file:
        kspace = torch.from_numpy(file["kspace"][0])
    kspace = kspace / kspace.abs().max()
    mask = equispaced_mask(256, 4, 12 / 256, 0)
    theirs = pygrappas(kspace, mask, 4)
    m = measured(kspace, mask)
    ours = m.window(Grappa()(m).image_BHW)[0]
    full = rss(ifft(kspace), 0)
    assert nmse(ours, full) < 1.02 * nmse(theirs, full)


@pytest.mark.parametrize("rate", [2, 3, 4])
def test_it_removes_most_of_the_aliasing(kspace: torch.Tensor, rate: int) -> None:
    mask = snu_mask(HW[1], rate)
    m = measured(kspace, mask)
    full = rss(ifft(kspace), 0)
    image = m.window(Grappa()(m).image_BHW)[0]
    plain = m.window(m.zero_filled())[0]
    assert nmse(image, full) < (0.1 if rate == 2 else 0.5) * nmse(plain, full)


@pytest.mark.parametrize("rate", [2, 3, 4])
def test_a_relation_between_coils_is_found(rate: int) -> None:
    """Coils that are one k-space shifted by 0, 1, ... columns: each gap is told by some coil.

    Edges of the ACS are examples with zeros beyond them, so the relation is found but nearly.
    """
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(200, 160, dtype=torch.complex128, generator=generator)
    kspace = torch.stack([torch.roll(one, shift, dims=1) for shift in range(rate)])
    mask = equispaced_mask(160, rate, 100 / 160, 0)
    lines = torch.from_numpy(mask.lines.copy())
    filled = Grappa(regularisation=1e-9, taps=1).filled(kspace * lines, mask)
    for coil in range(rate):
        # this column of this coil is the first coil's measured one, `coil` columns before
        columns = torch.arange(160)[~lines & (torch.arange(160) % rate == coil)][2:-2]
        if columns.numel():
            assert nmse(filled[coil][:, columns], kspace[coil][:, columns]) < 0.05


def test_measured_samples_stay_bit_for_bit(kspace: torch.Tensor) -> None:
    mask = snu_mask(HW[1], 4)
    lines = torch.from_numpy(mask.lines.copy())
    filled = Grappa().filled(kspace * lines, mask)
    assert torch.equal(filled[:, :, lines], kspace[:, :, lines])
    assert (filled[:, :, ~lines] != 0).any(0).float().mean() > 0.99


def test_scale_and_silence(kspace: torch.Tensor) -> None:
    mask = snu_mask(HW[1], 4)
    once, twice = (measured(kspace * scale, mask) for scale in (1.0, 3e-7))
    a, b = (m.window(Grappa()(m).image_BHW) for m in (once, twice))
    torch.testing.assert_close(b, a * 3e-7, rtol=1e-3, atol=3e-11)
    blank = measured(torch.zeros_like(kspace), mask)
    assert (Grappa()(blank).image_BHW == 0).all()
    whole = SamplingMask(np.ones(HW[1], bool), (0, HW[1]), 1.0, "full", 0)
    m = measured(kspace, whole)
    torch.testing.assert_close(m.window(Grappa()(m).image_BHW)[0], rss(ifft(kspace), 0))


def test_masks_without_a_lattice_are_refused_with_the_reason(kspace: torch.Tensor) -> None:
    random = random_mask(HW[1], 4, 0.08, np.random.default_rng(0))
    with pytest.raises(DataError, match="'random'.*a lattice.*cg-sense"):
        Grappa()(measured(kspace, random))
    plane = SamplingMask(np.random.default_rng(0).random(HW) < 0.5, (56, 64), None, "custom")
    with pytest.raises(DataError, match="a lattice"):
        Grappa()(measured(kspace, plane))
    with pytest.raises(DataError, match="6 ACS lines; expected at least 9 for a kernel at X8"):
        Grappa()(measured(kspace, equispaced_mask(HW[1], 8, 6 / HW[1], 1)))
