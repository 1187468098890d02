"""GRAPPA (Griswold et al., Magn Reson Med 47:1202, 2002): missing lines from their neighbours.

A kernel learned on the ACS lines predicts each coil's missing samples from the measured lines on
either side. It needs a lattice: lines at every R-th column.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from dealias.errors import DataError
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import row_window
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Estimate, Measurement, Needs

MAX_ROWS = 128
"""Central readout rows that kernels are learned on; more tell little and cost much."""
MAX_SOURCES = 5
"""Measured columns that a kernel sees: the nearest."""
Sources = tuple[int, ...]
"""Where measured columns lie, seen from a missing one."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Grappa:
    """GRAPPA for masks along the phase encode.

    Attributes:
        regularisation: Tikhonov weight of the calibration, relative to the Frobenius norm of its
            Gram matrix over that matrix's size.
        taps: Readout samples that a kernel sees of each line, odd.
    """

    regularisation: float = Field(default=0.01, ge=0, le=1e6, allow_inf_nan=False)
    taps: int = Field(default=5, ge=1, le=31)

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
        """k-space with its missing columns predicted; measured samples stay as they are.

        Args:
            kspace_CHW: Zero where nothing was measured.
            mask: A lattice with ACS lines.

        Returns:
            (C, H, W).

        Raises:
            DataError: As for a call.
        """
        if mask.full or not bool((kspace_CHW != 0).any()):
            return kspace_CHW
        patterns = _patterns(mask)
        result = kspace_CHW.clone()
        keep = min(kspace_CHW.shape[1], MAX_ROWS)
        acs_CHW = torch.zeros_like(kspace_CHW[:, :keep])
        first, last = row_window(kspace_CHW.shape[1], keep)
        acs_CHW[:, :, slice(*mask.acs)] = kspace_CHW[:, first:last, slice(*mask.acs)]
        for sources, columns in patterns.items():
            chosen = torch.tensor(columns, device=kspace_CHW.device)
            weights = self._learned(acs_CHW, mask.acs, sources)
            seen = self._patches(kspace_CHW, chosen, sources)
            result[:, :, chosen] = (seen @ weights).movedim(-1, 0)
        return result

    def _learned(self, acs_CHW: Tensor, acs: tuple[int, int], sources: Sources) -> Tensor:
        """Weights (taps * sources * C, C) that predict ACS columns from the columns around them.

        Beyond the ACS there are zeros: the ACS alone is the k-space of a low-resolution image that
        obeys the same relation between coils, so its borders are examples as well.
        """
        columns = torch.arange(*acs, device=acs_CHW.device)
        seen = self._patches(acs_CHW, columns, sources).flatten(0, 1)
        wanted = acs_CHW[:, :, columns].movedim(0, -1).flatten(0, 1)
        gram = seen.mH @ seen
        level = self.regularisation * torch.linalg.norm(gram) / len(gram)
        gram = gram + level * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return torch.linalg.solve(gram, seen.mH @ wanted)

    def _patches(self, kspace_CHW: Tensor, columns: Tensor, sources: Sources) -> Tensor:
        """What a kernel sees at each row and column: (H, columns, taps * lines * C)."""
        half, wide = self.taps // 2, max(map(abs, sources))
        padded = torch.nn.functional.pad(kspace_CHW, (wide, wide, half, half))
        rows = padded.unfold(1, self.taps, 1)
        seen = torch.stack([rows[:, :, columns + wide + shift] for shift in sources])
        return seen.permute(2, 3, 4, 0, 1).flatten(2)


def _patterns(mask: SamplingMask) -> dict[Sources, list[int]]:
    """Missing columns by where the measured columns around them lie; near the ACS there are more.

    Raises:
        DataError: See `Grappa.filled`.
    """
    if mask.lines.ndim != 1 or mask.nominal is None or mask.offset is None:
        found = f"a mask of family '{mask.family}'"
        do = "use cg-sense, which takes any mask"
        raise DataError("grappa", found, "a lattice: lines at every R-th column", do)
    reach = _reach(mask.acs_count, int(mask.nominal))
    found_at: dict[Sources, list[int]] = defaultdict(list)
    for column in np.flatnonzero(~mask.lines).tolist():
        first, last = max(column - reach, 0), min(column + reach + 1, mask.width)
        near = np.flatnonzero(mask.lines[first:last]) + (first - column)
        nearest = sorted(near.tolist(), key=abs)[:MAX_SOURCES]
        if nearest:
            found_at[tuple(sorted(nearest))].append(column)
    return found_at


def _reach(acs_count: int, rate: int) -> int:
    """How far a kernel sees on either side: two lattice lines, or one where the ACS is narrow."""
    if 3 * rate <= 2 / 3 * acs_count:
        return 2 * rate
    if rate < acs_count:
        return rate
    found = f"{acs_count} ACS lines"
    do = "use cg-sense or zero-filled"
    raise DataError("grappa", found, f"at least {rate + 1} for a kernel at X{rate}", do)
