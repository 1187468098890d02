"""GRAPPA (Griswold et al., Magn Reson Med 47:1202, 2002) as a classical method."""

from __future__ import annotations

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.grappa import REGULARISATION, TAPS, filled
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Estimate, Measurement, Needs


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Grappa:
    """GRAPPA for masks along the phase encode.

    Attributes:
        regularisation: Tikhonov weight of the calibration, relative to the Frobenius norm of its
            Gram matrix over that matrix's size.
        taps: Readout samples that a kernel sees of each line, odd.
    """

    regularisation: float = Field(default=REGULARISATION, ge=0, le=1e6, allow_inf_nan=False)
    taps: int = Field(default=TAPS, ge=1, le=31)

    @property
    def needs(self) -> Needs:
        """Nothing but k-space."""
        return Needs()

    def __call__(self, measurement: Measurement) -> Estimate:
        """Fill k-space of each item's centre slice, and combine by root-sum-of-squares.

        Raises:
            DataError: The mask is no lattice, or its ACS is too narrow for a kernel.
        """
        kspace_BSCHW = measurement.kspace_BSCHW
        if measurement.axes == (-1,):
            kspace_BSCHW = fft(kspace_BSCHW, (-2,))
        centre = kspace_BSCHW.shape[1] // 2
        images = []
        for item, kspace_CHW in enumerate(kspace_BSCHW[:, centre]):
            lines = measurement.mask_B11HW[min(item, measurement.mask_B11HW.shape[0] - 1)]
            mask = identify(lines[0, 0].expand(kspace_CHW.shape[-2:]).cpu().numpy())
            images.append(rss(ifft(self.filled(kspace_CHW, mask)), 0))
        return Estimate(torch.stack(images))

    def filled(self, kspace_CHW: Tensor, mask: SamplingMask) -> Tensor:
        """k-space with its missing columns predicted, see `physics.grappa.filled`."""
        return filled(kspace_CHW, mask, self.regularisation, self.taps)
