"""Ellipses whose k-space is known in closed form, alone and seen by sinusoidal coils.

Truth that owes nothing to an FFT: a reconstruction tested on the discrete transform of a rendered
image commits the inverse crime, on these it cannot. Positions are in fields of view: the encoded
image spans -1/2..1/2 on both axes, and k counts cycles a field of view.

Koay et al. 2007 (doi:10.1002/mrm.21292) for ellipses; Guerquin-Kern et al. 2012
(doi:10.1109/TMI.2011.2174158) for coils that are sums of sinusoids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import j1

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ellipse:
    """A filled ellipse.

    Attributes:
        centre: (y, x) in fields of view.
        radii: Half axes (y, x) before it is turned.
        turn: Rotation in radians, from y towards x.
        value: Its signal, added to what it lies on.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    turn: float = 0.0
    value: complex = 1.0

    def inside(self, y: Real, x: Real) -> npt.NDArray[np.bool_]:
        """Which points lie in it."""
        a, b = _turned(y - self.centre[0], x - self.centre[1], self.turn)
        return (a / self.radii[0]) ** 2 + (b / self.radii[1]) ** 2 <= 1

    def transform(self, ky: Real, kx: Real) -> Complex:
        """The continuous Fourier transform at any (ky, kx), whole cycles or not."""
        a, b = _turned(ky, kx, self.turn)
        q = np.hypot(a * self.radii[0], b * self.radii[1])
        safe = np.where(q == 0, 1, q)
        # J1(2 pi q) / q tends to pi at the centre
        bessel = np.where(q == 0, np.pi, j1(2 * np.pi * safe) / safe)
        shift = np.exp(-2j * np.pi * (ky * self.centre[0] + kx * self.centre[1]))
        return self.value * self.radii[0] * self.radii[1] * bessel * shift


@dataclass(frozen=True)
class SinusoidalMaps:
    """Coil maps that are sums of complex exponentials exp(2 pi i f r).

    Attributes:
        weights_CJ: Complex weight of each exponential in each coil.
        frequencies_J2: (fy, fx) in cycles a field of view; fractions are welcome.
    """

    weights_CJ: Complex
    frequencies_J2: Real

    def maps(self, hw: tuple[int, int]) -> Complex:
        """The maps at the pixels of a grid: (C, H, W) complex128."""
        y, x = pixels(hw)
        waves = [np.exp(2j * np.pi * (fy * y + fx * x)) for fy, fx in self.frequencies_J2]
        return np.tensordot(self.weights_CJ, np.stack(waves), axes=1)


def sinusoidal_maps(rng: np.random.Generator, coils: int) -> SinusoidalMaps:
    """Smooth random maps: the nine lowest half-cycle waves, the constant one the strongest."""
    steps = (-0.5, 0.0, 0.5)
    frequencies = np.array([(fy, fx) for fy in steps for fx in steps])
    draws = rng.standard_normal((2, coils, len(frequencies)))
    decay = np.exp(-2 * np.hypot(*frequencies.T))
    return SinusoidalMaps((draws[0] + 1j * draws[1]) * decay, frequencies)


def pixels(hw: tuple[int, int]) -> tuple[Real, Real]:
    """Positions (H, 1) and (1, W) of a grid's pixels in fields of view; 0 is pixel N//2."""
    y, x = (np.arange(n) / n - (n // 2) / n for n in hw)
    return y[:, None], x[None]


def image(ellipses: Sequence[Ellipse], hw: tuple[int, int]) -> Complex:
    """The object at the pixel centres, (H, W) complex128; no partial volume."""
    y, x = pixels(hw)
    drawn = [ellipse.value * ellipse.inside(y, x) for ellipse in ellipses]
    return np.sum(drawn, axis=0, dtype=np.complex128)


def kspace(
    ellipses: Sequence[Ellipse], hw: tuple[int, int], maps: SinusoidalMaps | None = None
) -> Complex:
    """k-space of the continuous object, as an ideal scanner samples it.

    A coil exp(2 pi i f r) shifts k-space by f; a coil of many exponentials sees the sum.

    Args:
        ellipses: The object.
        hw: (H, W) of k-space.
        maps: The coils, or None for one uniform coil.

    Returns:
        (C, H, W) complex128, centre at N//2, scaled so that the centred orthonormal inverse FFT
        gives the object's values (with the Gibbs ringing of the truncation).
    """
    one = SinusoidalMaps(np.ones((1, 1), np.complex128), np.zeros((1, 2)))
    maps = maps or one
    ky, kx = (np.arange(n, dtype=np.float64) - n // 2 for n in hw)
    shifted = [
        sum(ellipse.transform(ky[:, None] - fy, kx[None] - fx) for ellipse in ellipses)
        for fy, fx in maps.frequencies_J2
    ]
    seen: Complex = np.tensordot(maps.weights_CJ, np.stack(shifted), axes=1)
    return seen * np.sqrt(hw[0] * hw[1])


def shepp_logan() -> tuple[Ellipse, ...]:
    """The ten ellipses of Shepp and Logan with Toft's contrasts, the crown along -y."""
    rows = (
        (1.0, 0.69, 0.92, 0.0, 0.0, 0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0),
        (-0.2, 0.11, 0.31, 0.22, 0.0, -18), (-0.2, 0.16, 0.41, -0.22, 0.0, 18),
        (0.1, 0.21, 0.25, 0.0, 0.35, 0), (0.1, 0.046, 0.046, 0.0, 0.1, 0),
        (0.1, 0.046, 0.046, 0.0, -0.1, 0), (0.1, 0.046, 0.023, -0.08, -0.605, 0),
        (0.1, 0.023, 0.023, 0.0, -0.606, 0), (0.1, 0.023, 0.046, 0.06, -0.605, 0),
    )  # fmt: skip
    return tuple(
        Ellipse((-y / 2, x / 2), (b / 2, a / 2), np.deg2rad(turn), value)
        for value, a, b, x, y, turn in rows
    )


def _turned(y: Real, x: Real, turn: float) -> tuple[Real, Real]:
    """Coordinates along the axes of a turned ellipse; the same rule in space and in k-space."""
    cos, sin = np.cos(turn), np.sin(turn)
    return cos * y + sin * x, cos * x - sin * y
