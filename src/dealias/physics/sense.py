"""The multi-coil encoding operator A = M F S of SENSE (Pruessmann et al. 1999)."""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.physics.coils import rss
from dealias.physics.fourier import centring_phase, centring_ramp
from dealias.physics.normal import normal
from dealias.physics.operator import LinearOperator


class Sense(LinearOperator):
    """Sampling mask times Fourier transform times sensitivity maps.

    The shifts of the centred transform are folded into the maps once, so that each application
    runs plain FFTs; inputs and outputs are centred all the same.

    Several sets of maps see one image each, and measure their sum (soft SENSE, Uecker et al., Magn
    Reson Med 71:990, 2014): shapes (B, S, H, W) below are then (B, S, M, H, W).

    Args:
        sens_BSCHW: Sensitivity maps, complex; or (B, S, M, C, H, W), M sets of them.
        mask: bool, broadcastable to (B, S, C, H, W); True where k-space was sampled.
        axes: Axes that are still to transform: (-1,) in hybrid space, (-2, -1) otherwise.
    """

    def __init__(self, sens_BSCHW: Tensor, mask: Tensor, axes: tuple[int, ...]) -> None:
        self.axes = axes
        self.mask = mask
        shape = tuple(sens_BSCHW.shape)
        self._several = len(shape) == 6
        self.range = shape[:2] + shape[-3:]
        self.domain = shape[:-3] + shape[-2:]
        self._ramp = _ramp(sens_BSCHW, axes)
        self._phase = 1.0 + 0j
        for axis in axes:
            self._phase *= centring_phase(shape[axis])
        self._folded = sens_BSCHW * self._ramp
        self._gram_BSHW = None if self._several else (sens_BSCHW.abs() ** 2).sum(2)

    def forward(self, x: Tensor) -> Tensor:
        """Image to sampled k-space.

        Args:
            x: x_BSHW complex.

        Returns:
            (B, S, C, H, W) complex, 0 off the mask.
        """
        plain = torch.fft.fftn(self._spread(x), dim=self.axes, norm="ortho")
        return plain * (self._ramp * self._phase) * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """Sampled k-space to the coil-combined image: S^H F^H M y.

        Args:
            y: (B, S, C, H, W) complex.

        Returns:
            (B, S, H, W) complex.
        """
        y = y * self.mask * (self._ramp * self._phase).conj()
        return self._combine(torch.fft.ifftn(y, dim=self.axes, norm="ortho"))

    def normal(self, x: Tensor) -> Tensor:
        """S^H F^H M F S x, all shifts cancelled; x is (B, S, H, W) complex."""
        if not self._several:
            return normal(x, self._folded, self.mask, self.axes)
        k = torch.fft.fftn(self._spread(x), dim=self.axes, norm="ortho")
        return self._combine(torch.fft.ifftn(k * self.mask, dim=self.axes, norm="ortho"))

    def gram(self, x: Tensor) -> Tensor:
        """S^H S x; x is (B, S, H, W) complex."""
        if self._gram_BSHW is None:
            return self._combine(self._spread(x))
        return self._gram_BSHW * x

    def magnitude(self, x: Tensor) -> Tensor:
        """Root-sum-of-squares of the coil images S x: (B, S, H, W) real."""
        return rss(self._spread(x), coil_axis=2)

    def _spread(self, x: Tensor) -> Tensor:
        """Coil images of x, with the shifts folded in."""
        images = self._folded * x.unsqueeze(-3)
        return images.sum(2) if self._several else images

    def _combine(self, coil_images_BSCHW: Tensor) -> Tensor:
        images = coil_images_BSCHW.unsqueeze(2) if self._several else coil_images_BSCHW
        return (self._folded.conj() * images).sum(-3)


def _ramp(sens: Tensor, axes: tuple[int, ...]) -> Tensor:
    ramp = torch.ones((), dtype=sens.dtype, device=sens.device)
    for axis in axes:
        line = centring_ramp(sens.shape[axis], sens.dtype, sens.device)
        ramp = ramp * (line if axis == -1 else line[:, None])
    return ramp
