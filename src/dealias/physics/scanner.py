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
_RING_Y, _RING_X, _GAP, _WIRE = 1.75, 1.6, 0.45, 0.15
_CORRELATION = 0.25


@dataclass(frozen=True)
class Scanner:
    """An acquisition.

    Attributes:
        encoded_hw: (H, W) of k-space; H includes readout oversampling.
        target_hw: (H, W) of the image that is scored; pixels are square, of the same size.
        coils: C.
        snr: Mean of the noiseless root-sum-of-squares image inside the object (`inside`) over the
            standard deviation of the noise in the real part (equally the imaginary part) of one
            coil's image.
        signal: That mean, in the data's units.
    """

    encoded_hw: tuple[int, int]
    target_hw: tuple[int, int]
    coils: int
    snr: float
    signal: float

    def grid(self) -> Grid:
        """The grid to render the object on.

        One unit is half the smallest of the target's sides and the encoded width, so that the
        anatomy fits whatever is cropped, and is never stretched.
        """
        unit = min(*self.target_hw, self.encoded_hw[1])
        height, width = self.encoded_hw
        return Grid((FINENESS * height, FINENESS * width), height / unit, width / unit)

    def acquire(self, object_ZHW: Real, rng: np.random.Generator) -> Complex:
        """Scan a volume.

        Args:
            object_ZHW: Magnitude on `grid()`, in any unit.
            rng: For coils, phase and noise; each slice's noise has a generator of its own.

        Returns:
            Fully sampled k-space (Z, C, H, W) complex64, centred, orthonormal.
        """
        of_maps, of_phase, *of_noise = rng.spawn(2 + len(object_ZHW))
        maps_CHW, phase_ZHW = self.maps(of_maps), self.phase(of_phase, len(object_ZHW))
        gain = np.float32(self.signal / self._mean_signal(object_ZHW, maps_CHW))
        kspace_ZCHW = np.empty((len(object_ZHW), self.coils, *self.encoded_hw), np.complex64)
        for z, one in enumerate(of_noise):
            seen = encode(gain * object_ZHW[z] * phase_ZHW(z), maps_CHW, self.encoded_hw)
            kspace_ZCHW[z] = seen + self.noise(one)
        return kspace_ZCHW

    def maps(self, rng: np.random.Generator) -> Complex:
        """Sensitivity maps (C, H, W) on the fine grid: pairs of wires on a ring.

        By Biot and Savart the transverse field of two long antiparallel wires at z1 and z2 of the
        complex plane is conj(1/(z - z1) - 1/(z - z2)) but for constants: it falls off with
        distance and turns its phase as real coils' fields do. Wires have a thickness, which keeps
        the field smooth everywhere.
        """
        y, x = self.grid().coordinates()
        position = (x + 1j * y).astype(np.complex64)
        start = rng.uniform(0, 2 * np.pi)
        maps_CHW = np.empty((self.coils, *position.shape), np.complex64)
        for coil, one in enumerate(maps_CHW):
            angle = start + 2 * np.pi * coil / self.coils + rng.uniform(-0.1, 0.1)
            radius, half = rng.uniform(0.95, 1.1), _GAP / 2 * rng.uniform(0.8, 1.2)
            field = _pole(position, radius, angle - half) - _pole(position, radius, angle + half)
            one[:] = field * np.exp(1j * rng.uniform(0, 2 * np.pi))
        return maps_CHW

    def phase(self, rng: np.random.Generator, slices: int) -> _Phase:
        """Smooth image phase: a ramp, a curvature, and a slow drift from slice to slice."""
        return _Phase(self.grid(), rng.uniform(-1, 1, (2, 6)), slices)

    def noise(self, rng: np.random.Generator) -> Complex:
        """Complex noise (C, H, W), white in k-space and correlated between neighbouring coils."""
        white = rng.standard_normal((2, self.coils, *self.encoded_hw), dtype=np.float32)
        root = np.linalg.cholesky(self.covariance()).astype(np.complex64)
        sigma = np.complex64(self.signal / self.snr)
        return np.tensordot(sigma * root, white[0] + 1j * white[1], axes=1).astype(np.complex64)

    def _mean_signal(self, object_ZHW: Real, maps_CHW: Complex) -> float:
        """Mean of object times combined sensitivity; 1 for an empty object, which stays empty."""
        y, x = self.grid().coordinates()
        window = np.ix_(np.abs(y[:, 0]) <= 1, np.abs(x[0]) <= 1)
        seen_ZHW = np.stack([one[window] for one in object_ZHW])
        chosen_ZHW = inside(seen_ZHW)
        rss_HW = np.linalg.norm([one[window] for one in maps_CHW], axis=0)
        values = (seen_ZHW * rss_HW)[chosen_ZHW]
        return float(values.mean(dtype=np.float64)) if values.size else 1.0

    def covariance(self) -> npt.NDArray[np.complex128]:
        """Noise covariance between coils, 1 on the diagonal.

        In units of E[n_i conj(n_j)] / (2 sigma^2), with sigma the deviation of each real part.
        """
        index = np.arange(self.coils)
        apart = np.abs(index[:, None] - index[None])
        apart = np.minimum(apart, self.coils - apart)
        # a power of a number below 1 in the circular distance is positive definite
        turn = np.exp(0.3j * (index[:, None] - index[None]))
        return (_CORRELATION**apart) * turn


@dataclass(frozen=True)
class _Phase:
    grid: Grid
    draws: npt.NDArray[np.float64]
    slices: int

    def __call__(self, z: int) -> Complex:
        """exp(i phi) of one slice, (H, W) complex64."""
        turn = z / max(self.slices - 1, 1)
        a, b, c, d, e, f = np.pi * (self.draws[0] + 0.4 * turn * self.draws[1])
        y, x = self.grid.coordinates()
        rows = np.exp(1j * (a + 0.8 * c * y + 0.3 * f * y**2))
        columns = np.exp(1j * (0.8 * b * x + 0.6 * e * x**2))
        return (rows * columns * np.exp(0.7j * d * y * x)).astype(np.complex64)


def inside(object_ZHW: Real) -> npt.NDArray[np.bool_]:
    """Which pixels are of the object: above a fifth of its bright parts' signal.

    Args:
        object_ZHW: Magnitude in any unit.

    Returns:
        (Z, H, W) bool; all False for an object of zeros.
    """
    bright = object_ZHW[object_ZHW > 0.05 * object_ZHW.max()]
    if bright.size == 0:
        return np.zeros(object_ZHW.shape, dtype=bool)
    return np.asarray(object_ZHW > 0.2 * np.percentile(bright, 99))


def encode(image_HW: Complex, maps_CHW: Complex, size_hw: tuple[int, int]) -> Complex:
    """What noiseless coils measure of a finely rendered image.

    As on a scanner, the low frequencies of a continuous object are measured: Gibbs ringing and
    partial volume come with them. Scaled so that image values keep their meaning.

    Args:
        image_HW: Complex, on a grid finer than the acquired one.
        maps_CHW: Sensitivity maps on that grid.
        size_hw: (H, W) of the k-space to measure.

    Returns:
        (C, H, W) complex64, centred, orthonormal.
    """
    scale = np.float32(np.sqrt(size_hw[0] * size_hw[1] / image_HW.size))
    return np.stack([scale * _low_frequencies(image_HW * one, size_hw) for one in maps_CHW])


def _low_frequencies(image: Complex, size_hw: tuple[int, int]) -> Complex:
    # one axis after the other, so that the second transform runs on the rows that are kept
    for axis, size in ((-1, size_hw[1]), (-2, size_hw[0])):
        fine = image.shape[axis]
        image = sfft.fft(sfft.ifftshift(image, axes=axis), axis=axis, norm="ortho")
        wanted = (np.arange(size) - size // 2) % fine
        image = np.take(image, wanted, axis=axis)
    return image


def _pole(position: Complex, radius: float, angle: float) -> Complex:
    """conj(1 / (z - wire)), softened within the thickness of the wire."""
    wire = radius * (_RING_X * np.cos(angle) + 1j * _RING_Y * np.sin(angle))
    offset = position - np.complex64(wire)
    square = offset.real**2 + offset.imag**2
    return (offset / (square + np.float32(_WIRE**2))).astype(np.complex64)
