"""The multi-coil encoding operator A = M F S of SENSE (Pruessmann et al. 1999)."""

from __future__ import annotations

import torch
from torch import Tensor

from dealias.physics import chunked
from dealias.physics.coils import rss
from dealias.physics.fourier import centring_phase, centring_ramp
from dealias.physics.operator import LinearOperator


class Sense(LinearOperator):
    """Sampling mask times Fourier transform times sensitivity maps.

    The shifts of the centred transform are ramps of one row or one image, as they commute with the
    maps; so each application runs plain FFTs. Inputs and outputs are centred all the same.

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
        self._sens = sens_BSCHW
        self._ramp = _ramp(sens_BSCHW, axes)
        phase = 1.0 + 0j
        for axis in axes:
            phase *= centring_phase(shape[axis])
        self._weight = self._ramp * phase * mask
        self._gram_BSHW = (
            None if self._several else torch.linalg.vecdot(sens_BSCHW, sens_BSCHW, dim=2).real
        )

    def forward(self, x: Tensor) -> Tensor:
        """Image to sampled k-space.

        Args:
            x: x_BSHW complex.

        Returns:
            (B, S, C, H, W) complex, 0 off the mask.
        """
        images = self._spread(x * self._ramp)
        return torch.fft.fftn(images, dim=self.axes, norm="ortho") * self._weight

    def adjoint(self, y: Tensor) -> Tensor:
        """Sampled k-space to the coil-combined image: S^H F^H M y.

        Args:
            y: (B, S, C, H, W) complex.

        Returns:
            (B, S, H, W) complex.
        """
        weight = self._weight.conj()
        if self._several:
            images = torch.fft.ifftn(y * weight, dim=self.axes, norm="ortho")
            return self._combine(images) * self._ramp.conj()
        return chunked.adjoint(y, self._sens, weight, self.axes) * self._ramp.conj()

    def normal(self, x: Tensor) -> Tensor:
        """S^H F^H M F S x; x is (B, S, H, W) complex."""
        x = x * self._ramp
        if self._several:
            k = torch.fft.fftn(self._spread(x), dim=self.axes, norm="ortho")
            images = torch.fft.ifftn(k * self.mask, dim=self.axes, norm="ortho")
            return self._combine(images) * self._ramp.conj()
        return chunked.normal(x, self._sens, self.mask, self.axes) * self._ramp.conj()

    def gram(self, x: Tensor) -> Tensor:
        """S^H S x; x is (B, S, H, W) complex."""
        if self._gram_BSHW is None:
            return self._combine(self._spread(x))
        return self._gram_BSHW * x

    def magnitude(self, x: Tensor) -> Tensor:
        """Root-sum-of-squares of the coil images S x: (B, S, H, W) real."""
        return rss(self._spread(x), coil_axis=2)

    def _spread(self, x: Tensor) -> Tensor:
        """Coil images S x."""
        images = self._sens * x.unsqueeze(-3)
        return images.sum(2) if self._several else images

    def _combine(self, coil_images_BSCHW: Tensor) -> Tensor:
        images = coil_images_BSCHW.unsqueeze(2) if self._several else coil_images_BSCHW
        return (self._sens.conj() * images).sum(-3)


def _ramp(sens: Tensor, axes: tuple[int, ...]) -> Tensor:
    ramp = torch.ones((), dtype=sens.dtype, device=sens.device)
    for axis in axes:
        line = centring_ramp(sens.shape[axis], sens.dtype, sens.device)
        ramp = ramp * (line if axis == -1 else line[:, None])
    return ramp
