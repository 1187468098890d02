"""A simulated scanner: coils on a ring, phase, truncated k-space, correlated noise.

Simulated data, whatever the anatomy: results on it are not results on people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft as sfft

from dealias.physics.anatomy import Grid

Complex = npt.NDArray[np.complex64]
Real = npt.NDArray[np.float32]
FINENESS = 3
"""How many times finer than the acquired grid the object is rendered."""
_RING, _GAP, _NEAREST = 1.9, 0.35, 0.2


@dataclass(frozen=True)
class Scanner:
    """An acquisition.

    Attributes:
        encoded_hw: (H, W) of k-space; H includes readout oversampling.
        coils: C.
        snr: Mean signal inside the object over the standard deviation of the noise in each of the
            real and imaginary parts of one coil's image, with maps whose root-sum-of-squares is 1
            on average inside the object.
        oversampling: Readout field of view over the target's.
        signal: Mean signal inside the object, in the data's units.
    """

    encoded_hw: tuple[int, int]
    coils: int
    snr: float
    oversampling: float
    signal: float

    def grid(self) -> Grid:
        """The grid to render the object on."""
        height, width = self.encoded_hw
        return Grid((FINENESS * height, FINENESS * width), self.oversampling)

    def acquire(self, object_HW: Real, maps_CHW: Complex, rng: np.random.Generator) -> Complex:
        """Scan one slice.

        Args:
            object_HW: On `grid()`, mean signal about 1 inside.
            maps_CHW: From `maps`.
            rng: For phase and noise.

        Returns:
            Fully sampled k-space (C, H, W) complex64, centred, orthonormal.
        """
        phase = self.phase(rng)
        inside = object_HW > 0.2 * object_HW.max()
        mean = float(object_HW[inside].mean()) if inside.any() else 1.0
        image = (self.signal / mean) * object_HW * phase
        kspace = np.stack([truncated(image * one, self.encoded_hw) for one in maps_CHW])
        return (kspace + self.noise(rng)).astype(np.complex64)

    def maps(self, rng: np.random.Generator) -> Complex:
        """Sensitivity maps (C, H, W) on the fine grid: pairs of wires on a ring.

        The receive field of two antiparallel wires at z1 and z2 is conj(1/(z - z1) - 1/(z - z2)) in
        the complex plane: it falls off with distance and turns its phase as real coils do.
        """
        y, x = self.grid().coordinates()
        position = (x + 1j * y).astype(np.complex64)
        start = rng.uniform(0, 2 * np.pi)
        maps = []
        for coil in range(self.coils):
            angle = start + 2 * np.pi * coil / self.coils + rng.uniform(-0.1, 0.1)
            radius = _RING * rng.uniform(0.95, 1.1)
            gap = _GAP * rng.uniform(0.8, 1.2)
            ends = [radius * np.exp(1j * (angle + side * gap / 2)) for side in (-1, 1)]
            field = _pole(position, ends[0]) - _pole(position, ends[1])
            maps.append(np.conj(field) * np.exp(1j * rng.uniform(0, 2 * np.pi)))
        stacked = np.stack(maps).astype(np.complex64)
        middle = (np.abs(y) < 0.8) & (np.abs(x) < 0.8)
        rss = np.sqrt((np.abs(stacked) ** 2).sum(0))
        return stacked / rss[middle].mean()

    def phase(self, rng: np.random.Generator) -> Complex:
        """Smooth image phase exp(i phi) with a random ramp and a random curvature."""
        y, x = self.grid().coordinates()
        a, b, c, d, e, f = rng.uniform(-1, 1, 6)
        angle = np.pi * (
            a + 0.8 * b * x + 0.8 * c * y + 0.7 * d * x * y + 0.6 * e * x**2 + 0.3 * f * y**2
        )
        return np.exp(1j * angle).astype(np.complex64)

    def noise(self, rng: np.random.Generator) -> Complex:
        """Complex noise (C, H, W), white in k-space and correlated between neighbouring coils."""
        sigma = self.signal / self.snr
        shape = (self.coils, *self.encoded_hw)
        white = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        root = np.linalg.cholesky(self.covariance())
        return (sigma * np.tensordot(root, white, axes=1)).astype(np.complex64)

    def covariance(self) -> npt.NDArray[np.complex128]:
        """Noise covariance between coils, 1 on the diagonal."""
        index = np.arange(self.coils)
        apart = np.abs(index[:, None] - index[None])
        apart = np.minimum(apart, self.coils - apart)
        # a power of a number below 1 in the circular distance is positive definite
        turn = np.exp(0.3j * (index[:, None] - index[None]))
        return (0.25**apart) * turn


def truncated(image: Complex, size_hw: tuple[int, int]) -> Complex:
    """Centre of the k-space of a fine image, scaled so that image values keep their meaning.

    What a scanner does: it measures the low frequencies of a continuous object, Gibbs ringing
    included.
    """
    kspace = sfft.fftshift(sfft.fftn(sfft.ifftshift(image), norm="ortho"))
    windows = [
        slice(fine // 2 - size // 2, fine // 2 - size // 2 + size)
        for fine, size in zip(image.shape, size_hw, strict=True)
    ]
    scale = np.sqrt(size_hw[0] * size_hw[1] / image.size)
    return (kspace[tuple(windows)] * scale).astype(np.complex64)


def _pole(position: Complex, wire: complex) -> Complex:
    offset = position - np.complex64(wire)
    distance = np.maximum(np.abs(offset), _NEAREST)
    return (np.conj(offset) / distance**2).astype(np.complex64)
