"""The closed forms, against numerical integration of the same ellipses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from dealias.physics.phantom import (
    Ellipse,
    SinusoidalMaps,
    image,
    kspace,
    pixels,
    shepp_logan,
    sinusoidal_maps,
)

TURNED = Ellipse((0.07, -0.11), (0.21, 0.09), 0.6, 1.5 - 0.5j)


def integrated(ellipse: Ellipse, ky: float, kx: float) -> complex:
    """The Fourier integral along chords: each chord in closed form, their sum by quadrature."""
    cos, sin = np.cos(ellipse.turn), np.sin(ellipse.turn)
    along, across = cos * ky + sin * kx, cos * kx - sin * ky
    a, b = ellipse.radii

    def chord(s: float) -> float:
        half = b * np.sqrt(max(1 - (s / a) ** 2, 0))
        return 2 * half * float(np.sinc(2 * half * across)) * np.cos(2 * np.pi * along * s)

    # chords are even in s, so the odd part of the exponential drops out
    total = quad(chord, -a, a, limit=400, epsabs=1e-12)[0]
    shift = np.exp(-2j * np.pi * (ky * ellipse.centre[0] + kx * ellipse.centre[1]))
    return ellipse.value * total * shift


@pytest.mark.parametrize("k", [(0, 0), (1, 0), (0, -3), (4.5, 2.25), (-11, 7), (20.5, -16)])
def test_transform_of_an_ellipse(k: tuple[float, float]) -> None:
    found = TURNED.transform(np.float64(k[0]), np.float64(k[1]))
    assert abs(found - integrated(TURNED, *k)) < 1e-9


@pytest.mark.parametrize("hw", [(24, 17), (17, 24)])
def test_kspace_is_the_sum_over_a_very_fine_grid(hw: tuple[int, int]) -> None:
    """Signs, centre, scale and axes on odd and even sizes, with nothing but the definition."""
    fine = (1200, 1201)
    y, x = pixels(fine)
    drawn = image([TURNED], fine)
    found = kspace([TURNED], hw)[0]
    for row, column in ((0, 0), (hw[0] // 2, hw[1] // 2), (3, 14), (16, 2)):
        ky, kx = row - hw[0] // 2, column - hw[1] // 2
        waves = np.exp(-2j * np.pi * ky * y) * np.exp(-2j * np.pi * kx * x)
        expected = (drawn * waves).mean() * np.sqrt(hw[0] * hw[1])
        assert abs(found[row, column] - expected) < 2e-3 * np.abs(found).max()


def test_kspace_gives_the_image_back_within_its_ringing() -> None:
    hw = (96, 90)
    shifted = np.fft.ifftshift(kspace([TURNED], hw)[0])
    found = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"))
    truth = image([TURNED], hw)
    y, x = pixels(hw)
    core = Ellipse(TURNED.centre, (0.15, 0.04), TURNED.turn).inside(y, x)
    far = ~Ellipse(TURNED.centre, (0.27, 0.15), TURNED.turn).inside(y, x)
    assert np.abs(found - truth)[core].max() < 0.12 * abs(TURNED.value)
    assert np.abs(found - truth)[far].max() < 0.06 * abs(TURNED.value)


def test_coils_multiply_the_image() -> None:
    """Shifted sums in k-space are the product with the maps in the image, integrated finely."""
    rng, hw, fine = np.random.default_rng(0), (12, 10), (1000, 1001)
    coils = sinusoidal_maps(rng, 3)
    seen_CHW = coils.maps(fine) * image([TURNED], fine)
    found_CHW = kspace([TURNED], hw, coils)
    y, x = pixels(fine)
    for row, column in ((6, 5), (0, 9), (4, 7)):
        waves = np.exp(-2j * np.pi * ((row - 6) * y + (column - 5) * x))
        expected_C = (seen_CHW * waves).mean((1, 2)) * np.sqrt(hw[0] * hw[1])
        assert np.abs(found_CHW[:, row, column] - expected_C).max() < 3e-3 * np.abs(found_CHW).max()


def test_a_whole_cycle_shifts_kspace_by_one_sample() -> None:
    plain = kspace([TURNED], (16, 16))[0]
    wave = SinusoidalMaps(np.ones((1, 1), complex), np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(kspace([TURNED], (16, 16), wave)[0][:, 1:], plain[:, :-1])


def test_shepp_logan_has_its_known_values() -> None:
    drawn = image(shepp_logan(), (256, 256)).real
    assert drawn[128, 128 + 60] == pytest.approx(0.2)  # brain
    assert drawn[128 - 45, 128] == pytest.approx(0.3)  # the large ellipse towards the crown
    assert drawn[128, 128 + 28] == pytest.approx(0.0)  # a ventricle
    assert drawn.max() == pytest.approx(1.0)  # skull
    assert drawn[0, 0] == 0
