"""Noise covariance, whitening and SNR maps: against closed forms, a dense SENSE solution and bart.

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

from dealias.classical.iterative import CgSense
from dealias.errors import DataError, SettingsError
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.noise import (
    covariance,
    covariance_from_corners,
    prewhiten,
    snr_map,
    whitener,
)
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner
from dealias.scan.measurement import measure

Need = Callable[[str], str]


def white(*shape: int, seed: int = 0) -> torch.Tensor:
    """Complex noise of variance 1 (1/2 in each part)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=rng)


def strong_covariance(coils: int = 4, scale: float = 1.0) -> torch.Tensor:
    """Hermitian, positive, coils of very different noise, strongly correlated."""
    mixing = white(coils, coils, seed=3) + 0.5 * torch.eye(coils)
    mixing = torch.diag(torch.logspace(0, 0.8, coils, dtype=torch.float64)).to(mixing) @ mixing
    return scale * mixing @ mixing.mH


def noise_of(psi_CC: torch.Tensor, *shape: int, seed: int = 0) -> torch.Tensor:
    """Noise (C, ...) whose covariance is Psi, by NumPy's Cholesky factor."""
    root = torch.from_numpy(np.linalg.cholesky(psi_CC.numpy()))
    return torch.tensordot(root, white(len(psi_CC), *shape, seed=seed), dims=1)


def grid(hw: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    sides = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in hw)
    return torch.meshgrid(*sides, indexing="ij")


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


def scanned(
    hw: tuple[int, int], anatomy: str = "brain", coils: int = 4, slices: int = 2, snr: float = 20
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulated k-space (Z, C, H, W), and the covariance its noise was drawn with."""
    scanner = Scanner(hw, (hw[1], hw[1]), coils, snr=snr, signal=2e-4)
    body = render(anatomy, Subject(430, 1), scanner.grid(), np.linspace(-0.2, 0.3, slices))
    sigma = scanner.signal / scanner.snr
    psi = torch.from_numpy(2 * sigma**2 * scanner.covariance())
    return torch.from_numpy(scanner.acquire(body, np.random.default_rng(1))), psi


# covariance


def test_covariance_is_the_mean_outer_product_with_the_second_factor_conjugated() -> None:
    noise = torch.tensor([[1 + 2j, 3.0, 0, 0], [1j, 2 - 1j, 0, 0]], dtype=torch.complex64)
    # |1+2i|^2 + 9 = 14; (1+2i) conj(i) + 3 conj(2-i) = 2 - i + 6 + 3i; 1 + 5 = 6; over 4 samples
    expected = torch.tensor([[14, 8 + 2j], [8 - 2j, 6]], dtype=torch.complex128) / 4
    torch.testing.assert_close(covariance(noise), expected)


def test_covariance_of_many_samples_is_the_one_they_were_drawn_with() -> None:
    psi = strong_covariance()
    assert relative(covariance(noise_of(psi, 100_000)), psi) < 0.01


def test_too_few_or_broken_samples_are_refused() -> None:
    covariance(white(4, 8))
    with pytest.raises(DataError, match="7 samples of 4 coils"):
        covariance(white(4, 7))
    for bad in (float("nan"), float("inf"), complex(0, float("inf"))):
        noise = white(2, 50)
        noise[1, 3] = bad
        with pytest.raises(DataError, match="not finite"):
            covariance(noise)


# from the corners of images


def test_corners_of_a_simulated_brain_show_the_scanners_noise() -> None:
    """Four boxes of 19 x 16 samples of four coils: right to sqrt(C / N), 0.057, as it should be."""
    kspace, psi = scanned((192, 160), slices=4)
    assert relative(covariance_from_corners(kspace), psi) < 0.09


def airless(corners: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with bright signal in some of the corners of its images, and its covariance."""
    psi = strong_covariance(scale=1e-8)
    images = noise_of(psi, 1, 96, 80).movedim(0, 1)
    places = [(slice(20), slice(20)), (slice(20), slice(-20, None)),
              (slice(-20, None), slice(20)), (slice(-20, None), slice(-20, None))]  # fmt: skip
    for rows, columns in places[:corners]:
        images[..., rows, columns] += 1e-2
    return fft(images), psi


@pytest.mark.parametrize("corners", [1, 2, 3])
def test_anatomy_in_up_to_three_corners_does_not_matter(corners: int) -> None:
    kspace, psi = airless(corners)
    assert relative(covariance_from_corners(kspace, 0.2), psi) < 0.15


def test_signal_in_all_corners_is_refused() -> None:
    """A leg reaches through the image: its noise would be found 70 times too large."""
    kspace, psi = scanned((96, 96), "knee", snr=30)
    for scan in (airless(4)[0], kspace):
        with pytest.raises(DataError, match="all four corners"):
            covariance_from_corners(scan)
    with_margin, psi = scanned((192, 96), "knee", snr=30, slices=4)
    assert relative(covariance_from_corners(with_margin, 0.05), psi) < 0.2


@pytest.mark.parametrize("pattern", ["flat", "stripes down", "stripes across"])
def test_signal_of_half_the_noises_energy_is_the_limit(pattern: str) -> None:
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


def test_a_single_zero_is_not_undersampling() -> None:
    """As in 16-bit data of one coil: a real scan in the data folder has one."""
    kspace, psi = airless(0)
    kspace[:, :, 40, 30] = 0
    assert relative(covariance_from_corners(kspace, 0.2), psi) < 0.15


def test_broken_kspace_is_refused() -> None:
    kspace, _ = airless(0)
    kspace[0, 1, 3, 4] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        covariance_from_corners(kspace)


def test_kspace_without_its_corners_is_taken_as_it_is() -> None:
    """An elliptical shutter."""
    psi = strong_covariance(scale=1e-8)
    kspace, (y, x) = noise_of(psi, 6, 96, 80).movedim(0, 1), grid((96, 80))
    found = covariance_from_corners(kspace * (y**2 + x**2 <= 1), 0.2)
    assert relative(found, psi) < 0.1


@pytest.mark.parametrize("axes", [(-2,), (-1,), (-2, -1)])
def test_each_corner_can_be_the_dark_one(axes: tuple[int, ...]) -> None:
    kspace, psi = airless(3)
    assert relative(covariance_from_corners(fft(ifft(kspace).flip(axes)), 0.2), psi) < 0.15


@pytest.mark.parametrize("padded_hw", [(144, 80), (96, 111), (160, 120)])
def test_padding_with_zeros_does_not_change_what_is_found(padded_hw: tuple[int, int]) -> None:
    """Noise in the images is lower by the measured share; that of the samples is the same."""
    psi = strong_covariance(scale=1e-8)
    kspace = noise_of(psi, 3, 96, 80).movedim(0, 1)
    padded = torch.zeros(3, 4, *padded_hw, dtype=kspace.dtype)
    padded[..., :96, 10 : 10 + 80][..., : padded_hw[1] - 10] = kspace[..., : padded_hw[1] - 10]
    found = covariance_from_corners(padded, 0.25)
    assert relative(found, psi) < 0.1


def test_a_dead_coil_does_not_make_kspace_undersampled() -> None:
    kspace, psi = airless(0)
    kspace[:, 2] = 0
    live = torch.tensor([0, 1, 3])
    found = covariance_from_corners(kspace, 0.2)
    assert (found[2] == 0).all()
    assert relative(found[live][:, live], psi[live][:, live]) < 0.15


def test_blank_slices_do_not_count() -> None:
    psi = strong_covariance()
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
def test_whitened_covariance_is_the_identity(scale: float) -> None:
    psi = strong_covariance(scale=scale)
    W = whitener(psi)
    torch.testing.assert_close(W @ psi @ W.mH, torch.eye(4, dtype=W.dtype), atol=1e-10, rtol=0)
    samples = noise_of(psi, 5, 6, 200).movedim(1, 0)
    seen = covariance(prewhiten(samples, W).movedim(1, 0).flatten(1))
    assert (seen - torch.eye(4)).abs().max() < 0.06


def test_covariance_and_whitening_of_the_same_samples_give_the_identity_exactly() -> None:
    noise = noise_of(strong_covariance(), 12, 10)
    seen = covariance(prewhiten(noise, whitener(covariance(noise.flatten(1)))).flatten(1))
    torch.testing.assert_close(seen, torch.eye(4, dtype=seen.dtype), atol=1e-10, rtol=0)


def test_a_dead_coil_becomes_zeros_and_changes_no_other() -> None:
    noise = noise_of(strong_covariance(), 12, 10)
    with_dead = torch.cat([noise[:2], torch.zeros_like(noise[:1]), noise[2:]])
    W = whitener(covariance(with_dead.flatten(1)))
    whitened = prewhiten(with_dead, W)
    assert (whitened[2] == 0).all()
    assert (W[2] == 0).all() and (W[:, 2] == 0).all()
    others = prewhiten(noise, whitener(covariance(noise.flatten(1))))
    torch.testing.assert_close(whitened[[0, 1, 3, 4]], others)


def test_singular_covariances_are_refused() -> None:
    noise = white(4, 500).to(torch.complex64)
    noise[3] = (0.3 - 0.2j) * noise[0] + 1j * noise[1]
    broken = torch.eye(3, dtype=torch.complex128)
    broken[0, 0] = float("nan")
    lopsided = torch.tensor([[1, 0.5j], [0.5j, 1]])
    negative = -torch.eye(2, dtype=torch.complex128)
    for psi in (covariance(noise), torch.zeros(3, 3), broken, lopsided, negative):
        with pytest.raises(DataError, match="without inverse"):
            whitener(psi)


def test_bart_whitens_to_the_same_coils(need: Need, tmp_path: Path) -> None:
    """bart's whitener may differ by a unitary matrix: so W^H W, which is the inverse of Psi."""
    noise = noise_of(strong_covariance(), 40, 50)
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


# what whitening is for


def textured(hw: tuple[int, int]) -> torch.Tensor:
    """A smooth complex object (H, W) of about 1."""
    y, x = grid(hw)
    return (1 + 0.3 * torch.cos(5 * x + 3 * y)) * torch.exp(1j * (x - 0.5 * y))


def maps_of(coils: int, hw: tuple[int, int]) -> torch.Tensor:
    """Smooth complex maps (C, H, W) of a ring of coils, of unit root-sum-of-squares."""
    y, x = grid(hw)
    turns = [2 * np.pi * coil / coils + 0.3 for coil in range(coils)]
    maps = torch.stack([
        torch.exp(-0.7 * ((y - np.sin(a)) ** 2 + (x - np.cos(a)) ** 2) + 1j * (a + x * np.sin(a)))
        for a in turns
    ])  # fmt: skip
    return maps / rss(maps, 0)


def equispaced(width: int, rate: int) -> SamplingMask:
    return SamplingMask(np.arange(width) % rate == 0, (width // 2, width // 2))


def cg_sense(
    mask: SamplingMask, sens_CHW: torch.Tensor, regularisation: float = 1e-6, steps: int = 40
) -> Callable[[torch.Tensor], torch.Tensor]:
    """k-space (C, H, W) to the complex image (H, W), by the Reconstructor, in the data's scale."""
    method = CgSense(regularisation=regularisation, iterations=steps)
    hw = (sens_CHW.shape[1], sens_CHW.shape[2])

    def reconstruct(kspace_CHW: torch.Tensor) -> torch.Tensor:
        m = measure(kspace_CHW[None, None], [mask], hw, method.needs, sens_CHW[None, None])
        combined = method(m).combined_BSHW
        assert combined is not None
        return combined[0, 0] / m.scale_B[0]

    return reconstruct


def test_sense_of_whitened_coils_has_the_lowest_error() -> None:
    """Against no whitening, and against whitening by the conjugated (transposed) covariance."""
    hw, psi = (32, 36), strong_covariance(6, scale=1e-3)
    maps, mask, truth = maps_of(6, hw), equispaced(36, 2), textured(hw)
    kspace = fft(maps * truth) + noise_of(psi, *hw)

    def error(W: torch.Tensor) -> float:
        reconstruct = cg_sense(mask, prewhiten(maps, W), regularisation=1e-9, steps=200)
        return relative(reconstruct(prewhiten(kspace, W)), truth)

    best = error(whitener(psi))
    plain, conjugated = error(torch.eye(6)), error(whitener(psi.conj()))
    assert best < 0.3 * plain
    assert best < 0.4 * conjugated


# SNR maps


def dense(mask: SamplingMask, sens_CHW: torch.Tensor) -> torch.Tensor:
    """Encoding matrix (samples, pixels) by Fourier matrices, written out."""
    _, height, width = sens_CHW.shape
    rows, columns = (
        np.exp(-2j * np.pi / n * np.outer(np.arange(n) - n // 2, np.arange(n) - n // 2)) / n**0.5
        for n in (height, width)
    )
    matrix = np.einsum("kh,lw,chw->cklhw", rows, columns[mask.lines], sens_CHW.numpy())
    return torch.from_numpy(matrix.reshape(-1, height * width))


def solved(
    mask: SamplingMask, sens_CHW: torch.Tensor, psi_CC: torch.Tensor, ridge: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unweighted SENSE as a matrix (pixels, samples), and its exact deviation (H, W)."""
    E = dense(mask, sens_CHW)
    eye = torch.eye(E.shape[1], dtype=E.dtype)
    unfold = torch.linalg.solve(E.mH @ E + ridge * eye, E.mH)
    of_samples = torch.kron(psi_CC, torch.eye(len(E) // len(psi_CC), dtype=E.dtype))
    variance = torch.einsum("ps,st,pt->p", unfold, of_samples, unfold.conj()).real
    return unfold, (variance / 2).sqrt().reshape(sens_CHW.shape[1:])


def test_replicas_show_the_noise_of_a_dense_sense_solution() -> None:
    hw, psi, rate = (5, 12), strong_covariance(scale=1e-4), 3
    maps, mask, truth = maps_of(4, hw), equispaced(12, rate), textured(hw)
    lines = torch.tensor(mask.lines)
    unfold, exact = solved(mask, maps, psi)

    def reconstruct(kspace_CHW: torch.Tensor) -> torch.Tensor:
        return (unfold @ kspace_CHW[..., lines].flatten()).reshape(hw)

    found = snr_map(reconstruct, fft(maps * truth) * lines, psi, seed=7, replicas=2000)
    # each pixel is right to 1 / (2 sqrt(1999)), 0.011, and 60 pixels to 4.5 times that
    torch.testing.assert_close(found.std_HW, exact, rtol=0.05, atol=0)
    assert relative(found.std_HW, exact) < 0.015
    torch.testing.assert_close(found.snr_HW, truth.abs() / found.std_HW)
    # a conjugated covariance is another one: the test can tell
    assert relative(solved(mask, maps, psi.conj())[1], exact) > 0.05


def test_replicas_show_the_noise_of_the_real_cg_sense() -> None:
    hw, psi, ridge = (6, 12), strong_covariance(scale=1e-4), 0.03
    maps, mask = maps_of(4, hw), equispaced(12, 2)
    kspace = fft(maps * textured(hw)) * torch.tensor(mask.lines)
    reconstruct = cg_sense(mask, maps, regularisation=ridge, steps=20)
    found = snr_map(reconstruct, kspace, psi, seed=7, replicas=250)
    exact = solved(mask, maps, psi, ridge)[1]
    assert relative(found.std_HW, exact) < 0.045
    assert float(found.std_HW.mean() / exact.mean()) == pytest.approx(1, abs=0.02)


def test_the_ratio_of_deviations_is_the_g_factor() -> None:
    """sqrt([(E^H E)^-1]_pp [E^H E]_pp) by Pruessmann et al. 1999, for white noise."""
    hw, rate, maps = (4, 12), 3, maps_of(4, (4, 12))
    white_psi, full = torch.eye(4, dtype=torch.complex128), SamplingMask(np.ones(12, bool), (0, 12))
    stds = []
    for mask in (equispaced(12, rate), full):
        unfold, lines = solved(mask, maps, white_psi)[0], torch.tensor(mask.lines)
        stds.append(snr_map(lambda k, u=unfold, on=lines: (u @ k[..., on].flatten()).reshape(hw),
                            torch.ones(4, *hw, dtype=torch.complex128) * lines,
                            white_psi, seed=1, replicas=1500).std_HW)  # fmt: skip
    gram = (lambda E: E.mH @ E)(dense(equispaced(12, rate), maps))
    expected = (torch.linalg.inv(gram).diagonal() * gram.diagonal()).real.sqrt().reshape(hw)
    assert expected.max() > 1.5
    assert relative(stds[0] / stds[1] / rate**0.5, expected) < 0.03


def test_a_magnitude_sees_the_noise_along_its_phase() -> None:
    """Of a root-sum-of-squares at high SNR: sqrt(x^H Psi x / (2 |x|^2)), x the coils' values."""
    hw, psi = (16, 20), strong_covariance(scale=1e-6)
    images = maps_of(4, hw) * textured(hw)
    found = snr_map(lambda k: rss(ifft(k), 0), fft(images), psi, seed=3, replicas=800)
    energy = torch.einsum("chw,cd,dhw->hw", images.conj(), psi, images).real
    exact = (energy / (2 * rss(images, 0) ** 2)).sqrt()
    assert relative(found.std_HW, exact) < 0.035
    assert float(found.std_HW.mean() / exact.mean()) == pytest.approx(1, abs=0.01)


def test_few_replicas_do_not_bias_the_variance() -> None:
    """Even where a reconstruction adds a constant to whatever has noise: the mean is taken off."""
    kspace, psi = white(4, 40, 40), strong_covariance()

    def reconstruct(kspace_CHW: torch.Tensor) -> torch.Tensor:
        return ifft(kspace_CHW)[0] + (100 if not torch.equal(kspace_CHW, kspace) else 0)

    found = snr_map(reconstruct, kspace, psi, seed=0, replicas=3)
    assert float((found.std_HW**2).mean() / psi[0, 0].real) == pytest.approx(0.5, rel=0.05)


def test_noise_is_added_to_measured_samples_alone() -> None:
    """A zero-filled image's variance is the measured share of Psi, half of it in each part."""
    hw, psi = (32, 24), strong_covariance()
    lines = torch.arange(24) % 4 == 1
    kspace = white(4, *hw) * lines
    found = snr_map(lambda k: ifft(k)[2], kspace, psi, seed=0, replicas=60)
    expected = (float(psi[2, 2].real) * 0.25 / 2) ** 0.5
    assert float(found.std_HW.mean()) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_doubled_noise_doubles_the_deviation(dtype: torch.dtype) -> None:
    hw, psi = (16, 18), strong_covariance(scale=1e-4)
    maps, mask = maps_of(4, hw), equispaced(18, 2)
    kspace = (fft(maps * textured(hw)) * torch.tensor(mask.lines)).to(dtype)
    reconstruct = cg_sense(mask, maps.to(dtype))
    once, twice = (snr_map(reconstruct, kspace, a * psi, seed=5, replicas=8) for a in (1, 4))
    torch.testing.assert_close(twice.std_HW, 2 * once.std_HW, rtol=1e-3, atol=0)
    torch.testing.assert_close(2 * twice.snr_HW, once.snr_HW, rtol=1e-3, atol=0)


def test_replicas_are_a_function_of_the_seed_and_refuse_to_be_too_few() -> None:
    kspace, psi = white(4, 8, 8), strong_covariance()
    first, again, other = (
        snr_map(lambda k: ifft(k)[0], kspace, psi, seed=seed, replicas=4).std_HW
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert relative(other, first) > 0.1
    with pytest.raises(SettingsError, match="found 1; expected at least 2"):
        snr_map(lambda k: ifft(k)[0], kspace, psi, seed=1, replicas=1)


def test_nothing_has_no_snr_and_dead_coils_do_no_harm() -> None:
    psi = strong_covariance()
    psi[1], psi[:, 1] = 0, 0
    support = (torch.arange(8) > 3).to(torch.float64)
    found = snr_map(lambda k: ifft(k)[0] * support, white(4, 8, 8), psi, seed=1, replicas=50)
    assert (found.snr_HW[:, :4] == 0).all() and (found.std_HW[:, :4] == 0).all()
    expected = (float(psi[0, 0].real) / 2) ** 0.5
    assert float(found.std_HW[:, 4:].mean()) == pytest.approx(expected, rel=0.05)
    repeated = psi[[0, 1, 2, 3, 0]][:, [0, 1, 2, 3, 0]]
    same = snr_map(lambda k: ifft(k)[0] - ifft(k)[4], white(5, 8, 8), repeated, seed=1, replicas=5)
    assert (same.std_HW < 1e-6).all()
    dead = snr_map(lambda k: ifft(k)[1], white(4, 8, 8), psi, seed=1, replicas=5)
    assert (dead.std_HW < 1e-6).all()
