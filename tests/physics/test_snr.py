"""Noise in reconstructions: what whitening is for, and SNR maps against a dense SENSE solution.

Covariances here are complex off the diagonal, so that a transposed or conjugated one is another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dealias.classical.iterative import CgSense
from dealias.errors import SettingsError
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.noise import prewhiten, whitener
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.snr import snr_map
from dealias.scan.measurement import measure

Draw = Callable[..., torch.Tensor]


def grid(hw: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    sides = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in hw)
    return torch.meshgrid(*sides, indexing="ij")


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


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


# what whitening is for


def test_sense_of_whitened_coils_has_the_lowest_error(make_psi: Draw, noise_of: Draw) -> None:
    """Against no whitening, and against whitening by the conjugated (transposed) covariance."""
    hw, psi = (32, 36), make_psi(6, scale=1e-3)
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


def test_replicas_show_the_noise_of_a_dense_sense_solution(make_psi: Draw) -> None:
    hw, psi, rate = (5, 12), make_psi(scale=1e-4), 3
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


def test_replicas_show_the_noise_of_the_real_cg_sense(make_psi: Draw) -> None:
    hw, psi, ridge = (6, 12), make_psi(scale=1e-4), 0.03
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


def test_a_magnitude_sees_the_noise_along_its_phase(make_psi: Draw) -> None:
    """Of a root-sum-of-squares at high SNR: sqrt(x^H Psi x / (2 |x|^2)), x the coils' values."""
    hw, psi = (16, 20), make_psi(scale=1e-6)
    images = maps_of(4, hw) * textured(hw)
    found = snr_map(lambda k: rss(ifft(k), 0), fft(images), psi, seed=3, replicas=800)
    energy = torch.einsum("chw,cd,dhw->hw", images.conj(), psi, images).real
    exact = (energy / (2 * rss(images, 0) ** 2)).sqrt()
    assert relative(found.std_HW, exact) < 0.035
    assert float(found.std_HW.mean() / exact.mean()) == pytest.approx(1, abs=0.01)


def test_few_replicas_do_not_bias_the_variance(white: Draw, make_psi: Draw) -> None:
    """Even where a reconstruction adds a constant to whatever has noise: the mean is taken off."""
    kspace, psi = white(4, 40, 40), make_psi()

    def reconstruct(kspace_CHW: torch.Tensor) -> torch.Tensor:
        return ifft(kspace_CHW)[0] + (100 if not torch.equal(kspace_CHW, kspace) else 0)

    found = snr_map(reconstruct, kspace, psi, seed=0, replicas=3)
    assert float((found.std_HW**2).mean() / psi[0, 0].real) == pytest.approx(0.5, rel=0.05)


def test_noise_is_added_to_measured_samples_alone(white: Draw, make_psi: Draw) -> None:
    """A zero-filled image's variance is the measured share of Psi, half of it in each part."""
    hw, psi = (32, 24), make_psi()
    lines = torch.arange(24) % 4 == 1
    kspace = white(4, *hw) * lines
    found = snr_map(lambda k: ifft(k)[2], kspace, psi, seed=0, replicas=60)
    expected = (float(psi[2, 2].real) * 0.25 / 2) ** 0.5
    assert float(found.std_HW.mean()) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_doubled_noise_doubles_the_deviation(dtype: torch.dtype, make_psi: Draw) -> None:
    hw, psi = (16, 18), make_psi(scale=1e-4)
    maps, mask = maps_of(4, hw), equispaced(18, 2)
    kspace = (fft(maps * textured(hw)) * torch.tensor(mask.lines)).to(dtype)
    reconstruct = cg_sense(mask, maps.to(dtype))
    once, twice = (snr_map(reconstruct, kspace, a * psi, seed=5, replicas=8) for a in (1, 4))
    torch.testing.assert_close(twice.std_HW, 2 * once.std_HW, rtol=1e-3, atol=0)
    torch.testing.assert_close(2 * twice.snr_HW, once.snr_HW, rtol=1e-3, atol=0)


def test_replicas_are_a_function_of_the_seed_and_refuse_to_be_too_few(
    white: Draw, make_psi: Draw
) -> None:
    kspace, psi = white(4, 8, 8), make_psi()
    first, again, other = (
        snr_map(lambda k: ifft(k)[0], kspace, psi, seed=seed, replicas=4).std_HW
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert relative(other, first) > 0.1
    with pytest.raises(SettingsError, match="found 1; expected at least 2"):
        snr_map(lambda k: ifft(k)[0], kspace, psi, seed=1, replicas=1)


def test_nothing_has_no_snr_and_dead_coils_do_no_harm(white: Draw, make_psi: Draw) -> None:
    psi = make_psi()
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
