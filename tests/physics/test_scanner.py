"""The simulated scanner, against closed forms and against what was asked of it."""

from __future__ import annotations

import numpy as np
import pytest

from dealias.physics.phantom import Ellipse, image, kspace, sinusoidal_maps
from dealias.physics.scanner import FINENESS, Scanner, encode, inside

ELLIPSES = (Ellipse((0.02, -0.03), (0.40, 0.31), 0.2), Ellipse((0.1, 0.05), (0.1, 0.07), 1.0, -0.6))


def scanner(**changes: object) -> Scanner:
    settings = {
        "encoded_hw": (48, 32), "target_hw": (32, 32), "coils": 6, "snr": 25.0, "signal": 2e-4,
    }  # fmt: skip
    return Scanner(**(settings | changes))  # type: ignore[arg-type]


def ellipse_error(fineness: int, hw: tuple[int, int]) -> float:
    fine = (fineness * hw[0], fineness * hw[1])
    coils = sinusoidal_maps(np.random.default_rng(1), 3)
    rendered = encode(image(ELLIPSES, fine), coils.maps(fine), hw)
    truth = kspace(ELLIPSES, hw, coils)
    return float(np.linalg.norm(rendered - truth) / np.linalg.norm(truth))


def test_encoding_approaches_the_closed_form() -> None:
    """Within 2 % of hard-edged ellipses at the used fineness, and converging to them."""
    assert ellipse_error(FINENESS, (64, 48)) < 0.02
    assert ellipse_error(12, (64, 48)) < 0.5 * ellipse_error(FINENESS, (64, 48))


@pytest.mark.parametrize("hw", [(31, 32), (32, 31), (31, 31)])
def test_odd_sizes_are_centred_too(hw: tuple[int, int]) -> None:
    assert ellipse_error(9, hw) < 0.02


def test_a_resolved_object_keeps_its_values() -> None:
    y, x = np.mgrid[-48:48, -36:36]
    fine = np.exp(-(y**2 + x**2) / 80) * np.exp(0.03j * x)
    found = np.fft.ifftshift(encode(fine, np.ones((1, 96, 72)), (32, 24))[0])
    found = np.fft.fftshift(np.fft.ifft2(found, norm="ortho"))
    np.testing.assert_allclose(found, fine[::3, ::3], atol=1e-5)


@pytest.mark.parametrize("coils", [1, 2, 4, 8, 15, 20])
def test_covariance_is_hermitian_and_positive(coils: int) -> None:
    found = scanner(coils=coils).covariance()
    np.testing.assert_allclose(found, found.conj().T)
    np.testing.assert_allclose(np.diag(found), 1)
    assert np.linalg.eigvalsh(found).min() > 0.3


def test_noise_has_the_covariance_and_the_deviation_asked_for() -> None:
    one = scanner(coils=4, encoded_hw=(512, 512))
    noise = one.noise(np.random.default_rng(0)).reshape(4, -1)
    sigma = one.signal / one.snr
    assert noise.real.std(axis=1) == pytest.approx(np.full(4, sigma), rel=0.01)
    assert noise.imag.std(axis=1) == pytest.approx(np.full(4, sigma), rel=0.01)
    measured = noise @ noise.conj().T / noise.shape[1] / (2 * sigma**2)
    np.testing.assert_allclose(measured, one.covariance(), atol=0.01)
    # neighbours are correlated, and by a complex number: a conjugate would not go unnoticed
    assert measured[0, 1].imag < -0.05
    pseudo = noise @ noise.T / noise.shape[1] / (2 * sigma**2)
    assert np.abs(pseudo).max() < 0.01  # circular


def test_noise_is_white_in_kspace() -> None:
    noise = scanner(coils=1, encoded_hw=(256, 256)).noise(np.random.default_rng(2))[0]
    power = np.abs(noise) ** 2
    assert power[:, :32].mean() == pytest.approx(power[:, 112:144].mean(), rel=0.05)
    assert abs(np.mean(noise[1:] * noise[:-1].conj())) < 0.02 * power.mean()


@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_the_scan_has_the_snr_asked_for(snr: float) -> None:
    """Signal from a scan without noise, noise from the difference, in the combined image."""
    sizes = {"encoded_hw": (96, 96), "target_hw": (96, 96)}
    quiet, noisy = scanner(snr=1e9, **sizes), scanner(snr=snr, **sizes)
    y, x = quiet.grid().coordinates()
    disc = ((y**2 + x**2) < 0.6).astype(np.float32)[None]
    clean = quiet.acquire(disc, np.random.default_rng(5))[0]
    noise = noisy.acquire(disc, np.random.default_rng(5))[0] - clean
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(clean, (1, 2)), norm="ortho"), (1, 2))
    signal = np.linalg.norm(images, axis=0)[disc[0, 1::3, 1::3] > 0].mean()
    assert signal == pytest.approx(quiet.signal, rel=0.03)
    assert signal / noise.real.std() == pytest.approx(snr, rel=0.03)


def test_maps_are_smooth_and_differ() -> None:
    one = scanner(coils=8, encoded_hw=(64, 48), target_hw=(48, 48))
    maps_CHW = one.maps(np.random.default_rng(0))
    assert maps_CHW.shape == (8, 192, 144)
    y, x = one.grid().coordinates()
    middle_CHW = maps_CHW[:, np.abs(y[:, 0]) < 0.8][:, :, np.abs(x[0]) < 0.8]
    for axis in (1, 2):
        slope = np.abs(np.diff(middle_CHW, axis=axis)).max() / (x[0, 1] - x[0, 0])
        assert slope < 4 * np.abs(middle_CHW).max()  # nothing finer than a quarter field of view
    middle = middle_CHW.reshape(8, -1)
    combined = np.linalg.norm(middle, axis=0)
    assert combined.max() < 4 * combined.min()  # seen everywhere
    gram = np.abs(np.corrcoef(middle))
    assert (gram[~np.eye(8, dtype=bool)] < 0.98).all()
    # each coil is strongest near itself: eight different places
    assert len({int(np.abs(coil).argmax()) for coil in maps_CHW}) == 8


def test_a_volume_shares_coils_and_its_phase_drifts_slowly() -> None:
    one = scanner(snr=1e9)
    fine = one.grid().shape_hw
    body = np.ones((5, *fine), np.float32)
    found = one.acquire(body, np.random.default_rng(4))
    step = [np.linalg.norm(found[z + 1] - found[z]) / np.linalg.norm(found[0]) for z in range(4)]
    assert 0 < max(step) < 0.6


def test_pixels_are_square_on_every_grid() -> None:
    for encoded, target in (((192, 128), (96, 96)), ((192, 96), (96, 96)), ((768, 396), (384, 384)),
                            ((640, 368), (384, 384)), ((256, 128), (128, 100))):  # fmt: skip
        grid = scanner(encoded_hw=encoded, target_hw=target).grid()
        (y, x), shape = grid.coordinates(), grid.shape_hw
        assert shape == (FINENESS * encoded[0], FINENESS * encoded[1])
        assert y[1, 0] - y[0, 0] == pytest.approx(x[0, 1] - x[0, 0], rel=1e-4)
        # one unit fits into the target
        assert min(target) * 1.5 >= int(round(1 / float(y[1, 0] - y[0, 0]))) - 1


def test_an_empty_object_scans_to_noise_alone() -> None:
    one = scanner()
    found = one.acquire(np.zeros((1, *one.grid().shape_hw), np.float32), np.random.default_rng(0))
    assert found.real.std() == pytest.approx(one.signal / one.snr, rel=0.05)
    assert not inside(np.zeros((2, 2), np.float32)).any()


def test_each_slice_has_noise_of_its_own() -> None:
    one = scanner()
    empty = np.zeros((2, *one.grid().shape_hw), np.float32)
    first, second = one.acquire(empty, np.random.default_rng(0))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, one.acquire(empty[:1], np.random.default_rng(0))[0])
