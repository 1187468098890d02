"""Noise covariance and whitening: against closed forms and bart.

Covariances here are complex off the diagonal, so that a transposed or conjugated one is another.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dealias.errors import DataError, SettingsError
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.noise import covariance, covariance_from_corners, prewhiten, whitener
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner

Need = Callable[[str], str]
Draw = Callable[..., torch.Tensor]
Airless = Callable[[int], tuple[torch.Tensor, torch.Tensor]]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


# covariance


def test_covariance_is_the_mean_outer_product_with_the_second_factor_conjugated() -> None:
    noise = torch.tensor([[1 + 2j, 3.0, 0, 0], [1j, 2 - 1j, 0, 0]], dtype=torch.complex64)
    # |1+2i|^2 + 9 = 14; (1+2i) conj(i) + 3 conj(2-i) = 2 - i + 6 + 3i; 1 + 5 = 6; over 4 samples
    expected = torch.tensor([[14, 8 + 2j], [8 - 2j, 6]], dtype=torch.complex128) / 4
    torch.testing.assert_close(covariance(noise), expected)


def test_covariance_of_many_samples_is_the_one_they_were_drawn_with(
    make_psi: Draw, noise_of: Draw
) -> None:
    psi = make_psi()
    assert relative(covariance(noise_of(psi, 100_000)), psi) < 0.01


def test_too_few_or_broken_samples_are_refused(white: Draw) -> None:
    covariance(white(4, 8))
    with pytest.raises(DataError, match="7 samples of 4 coils"):
        covariance(white(4, 7))
    for bad in (float("nan"), float("inf"), complex(0, float("inf"))):
        noise = white(2, 50)
        noise[1, 3] = bad
        with pytest.raises(DataError, match="not finite"):
            covariance(noise)


# from the corners of images


def scanned(
    hw: tuple[int, int], anatomy: str = "brain", coils: int = 4, slices: int = 2, snr: float = 20
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulated k-space (Z, C, H, W), and the covariance its noise was drawn with."""
    scanner = Scanner(hw, (hw[1], hw[1]), coils, snr=snr, signal=2e-4)
    body = render(anatomy, Subject(430, 1), scanner.grid(), np.linspace(-0.2, 0.3, slices))
    sigma = scanner.signal / scanner.snr
    psi = torch.from_numpy(2 * sigma**2 * scanner.covariance())
    return torch.from_numpy(scanner.acquire(body, np.random.default_rng(1))), psi


def test_corners_of_a_simulated_brain_show_the_scanners_noise() -> None:
    """Four boxes of 19 x 16 samples of four coils: right to sqrt(C / N), 0.057, as it should be."""
    kspace, psi = scanned((192, 160), slices=4)
    assert relative(covariance_from_corners(kspace), psi) < 0.09


@pytest.fixture
def airless(make_psi: Draw, noise_of: Draw) -> Airless:
    """Noise with bright signal in some of the corners of its images, and its covariance."""

    def make(corners: int) -> tuple[torch.Tensor, torch.Tensor]:
        psi = make_psi(scale=1e-8)
        images = noise_of(psi, 1, 96, 80).movedim(0, 1)
        places = [(slice(20), slice(20)), (slice(20), slice(-20, None)),
                  (slice(-20, None), slice(20)), (slice(-20, None), slice(-20, None))]  # fmt: skip
        for rows, columns in places[:corners]:
            images[..., rows, columns] += 1e-2
        return fft(images), psi

    return make


@pytest.mark.parametrize("corners", [1, 2, 3])
def test_anatomy_in_up_to_three_corners_does_not_matter(corners: int, airless: Airless) -> None:
    kspace, psi = airless(corners)
    assert relative(covariance_from_corners(kspace, 0.2), psi) < 0.15


def test_signal_in_all_corners_is_refused(airless: Airless) -> None:
    """A leg reaches through the image: its noise would be found 70 times too large."""
    kspace, psi = scanned((96, 96), "knee", snr=30)
    for scan in (airless(4)[0], kspace):
        with pytest.raises(DataError, match="all four corners"):
            covariance_from_corners(scan)
    with_margin, psi = scanned((192, 96), "knee", snr=30, slices=4)
    assert relative(covariance_from_corners(with_margin, 0.05), psi) < 0.2


@pytest.mark.parametrize("pattern", ["flat", "stripes down", "stripes across"])
def test_signal_of_half_the_noises_energy_is_the_limit(pattern: str, white: Draw) -> None:
    """Smooth along either axis is enough."""
    noise = white(6, 3, 96, 80)
    y, x = torch.arange(96)[:, None], torch.arange(80)
    signal = {"flat": x * 0 + y * 0, "stripes down": x + 0 * y, "stripes across": y + 0 * x}[
        pattern
    ]
    bright = (1 - 2 * (signal % 2)).to(noise.dtype)
    found = covariance_from_corners(fft(noise + 0.35**0.5 * bright), 0.2)
    assert relative(found.diagonal().real, torch.full((3,), 1.35)) < 0.1
    with pytest.raises(DataError, match="all four corners"):
        covariance_from_corners(fft(noise + 0.7**0.5 * bright), 0.2)


def test_a_single_zero_is_not_undersampling(airless: Airless) -> None:
    """As in 16-bit data of one coil: a real scan in the data folder has one."""
    kspace, psi = airless(0)
    kspace[:, :, 40, 30] = 0
    assert relative(covariance_from_corners(kspace, 0.2), psi) < 0.15


def test_broken_kspace_is_refused(airless: Airless) -> None:
    kspace, _ = airless(0)
    kspace[0, 1, 3, 4] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        covariance_from_corners(kspace)


def test_kspace_without_its_corners_is_taken_as_it_is(make_psi: Draw, noise_of: Draw) -> None:
    """An elliptical shutter."""
    psi = make_psi(scale=1e-8)
    kspace, (y, x) = noise_of(psi, 6, 96, 80).movedim(0, 1), np.mgrid[-1:1:96j, -1:1:80j]
    found = covariance_from_corners(kspace * torch.from_numpy(y**2 + x**2 <= 1), 0.2)
    assert relative(found, psi) < 0.1


@pytest.mark.parametrize("axes", [(-2,), (-1,), (-2, -1)])
def test_each_corner_can_be_the_dark_one(axes: tuple[int, ...], airless: Airless) -> None:
    kspace, psi = airless(3)
    assert relative(covariance_from_corners(fft(ifft(kspace).flip(axes)), 0.2), psi) < 0.15


@pytest.mark.parametrize("padded_hw", [(144, 80), (96, 111), (160, 120)])
def test_padding_with_zeros_does_not_change_what_is_found(
    padded_hw: tuple[int, int], make_psi: Draw, noise_of: Draw
) -> None:
    """Noise in the images is lower by the measured share; that of the samples is the same."""
    psi = make_psi(scale=1e-8)
    kspace = noise_of(psi, 3, 96, 80).movedim(0, 1)
    padded = torch.zeros(3, 4, *padded_hw, dtype=kspace.dtype)
    padded[..., :96, 10 : 10 + 80][..., : padded_hw[1] - 10] = kspace[..., : padded_hw[1] - 10]
    found = covariance_from_corners(padded, 0.25)
    assert relative(found, psi) < 0.1


def test_a_dead_coil_does_not_make_kspace_undersampled(airless: Airless) -> None:
    kspace, psi = airless(0)
    kspace[:, 2] = 0
    live = torch.tensor([0, 1, 3])
    found = covariance_from_corners(kspace, 0.2)
    assert (found[2] == 0).all()
    assert relative(found[live][:, live], psi[live][:, live]) < 0.15


def test_blank_slices_do_not_count(make_psi: Draw, noise_of: Draw) -> None:
    psi = make_psi()
    kspace = noise_of(psi, 3, 64, 64).movedim(0, 1)
    with_blank = torch.cat([kspace, torch.zeros_like(kspace)])
    torch.testing.assert_close(
        covariance_from_corners(with_blank, 0.2), covariance_from_corners(kspace, 0.2)
    )


def test_undersampled_kspace_is_refused_along_either_axis() -> None:
    kspace, _ = scanned((64, 48))
    lines = torch.tensor(snu_mask(48, 4).lines)
    for masked in (kspace * lines, kspace * (torch.arange(64) % 2)[:, None]):
        with pytest.raises(DataError, match="undersampled"):
            covariance_from_corners(masked)
    one_slice = kspace.clone()
    one_slice[1] *= lines
    with pytest.raises(DataError, match="undersampled"):
        covariance_from_corners(one_slice)


def test_boxes_that_are_no_share_or_too_small_are_refused() -> None:
    kspace, _ = scanned((64, 48), slices=1)
    for share in (0.0, -0.1, 0.6, float("nan")):
        with pytest.raises(SettingsError, match="share"):
            covariance_from_corners(kspace, share)
    with pytest.raises(DataError, match="1 samples of 4 coils"):
        covariance_from_corners(kspace, 0.001)
    with pytest.raises(DataError, match="blank"):
        covariance_from_corners(torch.zeros_like(kspace))


def test_the_real_brains_noise_is_found_although_signal_reaches_two_corners(
    real_data: Path,
) -> None:
    """Its outermost 12 x 12 pixels are air in all corners; boxes of 26 see signal at the top."""
    with h5py.File(real_data / "brain4ch_t2_tugraz_gpunufft.h5") as file:
        kspace = torch.from_numpy(file["kspace"][:])
    images = ifft(kspace.to(torch.complex128))[0]
    ends = (slice(12), slice(-12, None))
    air = torch.cat([images[:, rows, columns].flatten(1) for rows in ends for columns in ends], 1)
    found = covariance_from_corners(kspace)
    assert relative(found, covariance(air)) < 0.15
    top = images[:, :26, :26].flatten(1)
    assert relative(covariance(top), covariance(air)) > 0.25


# whitening


@pytest.mark.parametrize("scale", [1e-28, 1.0, 1e20])
def test_whitened_covariance_is_the_identity(scale: float, make_psi: Draw, noise_of: Draw) -> None:
    psi = make_psi(scale=scale)
    W = whitener(psi)
    torch.testing.assert_close(W @ psi @ W.mH, torch.eye(4, dtype=W.dtype), atol=1e-10, rtol=0)
    samples = noise_of(psi, 5, 6, 200).movedim(1, 0)
    seen = covariance(prewhiten(samples, W).movedim(1, 0).flatten(1))
    assert (seen - torch.eye(4)).abs().max() < 0.06


def test_covariance_and_whitening_of_the_same_samples_give_the_identity_exactly(
    make_psi: Draw, noise_of: Draw
) -> None:
    noise = noise_of(make_psi(), 12, 10)
    seen = covariance(prewhiten(noise, whitener(covariance(noise.flatten(1)))).flatten(1))
    torch.testing.assert_close(seen, torch.eye(4, dtype=seen.dtype), atol=1e-10, rtol=0)


def test_a_dead_coil_becomes_zeros_and_changes_no_other(make_psi: Draw, noise_of: Draw) -> None:
    noise = noise_of(make_psi(), 12, 10)
    with_dead = torch.cat([noise[:2], torch.zeros_like(noise[:1]), noise[2:]])
    W = whitener(covariance(with_dead.flatten(1)))
    whitened = prewhiten(with_dead, W)
    assert (whitened[2] == 0).all()
    assert (W[2] == 0).all() and (W[:, 2] == 0).all()
    others = prewhiten(noise, whitener(covariance(noise.flatten(1))))
    torch.testing.assert_close(whitened[[0, 1, 3, 4]], others)


def test_singular_covariances_are_refused(white: Draw) -> None:
    noise = white(4, 500).to(torch.complex64)
    noise[3] = (0.3 - 0.2j) * noise[0] + 1j * noise[1]
    broken = torch.eye(3, dtype=torch.complex128)
    broken[0, 0] = float("nan")
    lopsided = torch.tensor([[1, 0.5j], [0.5j, 1]])
    negative = -torch.eye(2, dtype=torch.complex128)
    for psi in (covariance(noise), torch.zeros(3, 3), broken, lopsided, negative):
        with pytest.raises(DataError, match="without inverse"):
            whitener(psi)


def test_bart_whitens_to_the_same_coils(
    need: Need, tmp_path: Path, make_psi: Draw, noise_of: Draw
) -> None:
    """bart's whitener may differ by a unitary matrix: so W^H W, which is the inverse of Psi."""
    noise = noise_of(make_psi(), 40, 50)
    (tmp_path / "n.hdr").write_text("# Dimensions\n40 50 1 4\n")
    values = noise.numpy().transpose(1, 2, 0).astype(np.complex64)
    values.ravel(order="F").tofile(tmp_path / "n.cfl")
    command = [need("bart"), "whiten", "-n", "n", "n", "out", "opt", "cov"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = np.fromfile(tmp_path / "out.cfl", np.complex64).reshape((40, 50, 4), order="F")
    bart_whitened = torch.from_numpy(found.transpose(2, 0, 1))
    ours = prewhiten(noise, whitener(covariance(noise.flatten(1))))
    # bart divides by N - 1
    torch.testing.assert_close(rss(bart_whitened, 0).double(), rss(ours, 0), rtol=1e-3, atol=0)
