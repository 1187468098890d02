"""GRAPPA (Griswold et al., Magn Reson Med 47:1202, 2002): missing lines from their neighbours.

A kernel learned on the ACS lines predicts each coil's missing samples from the measured lines on
either side. It needs a lattice: lines at every R-th column.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from dealias.errors import DataError
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import row_window
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask

REGULARISATION = 0.01
TAPS = 5
MAX_ROWS = 128
"""Central readout rows that kernels are learned on; more tell little and cost much."""
MAX_SOURCES = 5
"""Measured columns that a kernel sees: the nearest."""
Sources = tuple[int, ...]
"""Where measured columns lie, seen from a missing one."""


def filled(
    kspace_CHW: Tensor,
    mask: SamplingMask,
    regularisation: float = REGULARISATION,
    taps: int = TAPS,
) -> Tensor:
    """k-space with its missing columns predicted; measured samples stay as they are.

    Args:
        kspace_CHW: Zero where nothing was measured.
        mask: A lattice with ACS lines.
        regularisation: Tikhonov weight of the calibration, relative to the Frobenius norm of its
            Gram matrix over that matrix's size.
        taps: Readout samples that a kernel sees of each line, odd.

    Returns:
        (C, H, W); what was given where all of it or the ACS is zero.

    Raises:
        DataError: The mask is no lattice, or its ACS is too narrow for a kernel.
    """
    if mask.full or not bool((kspace_CHW != 0).any()):
        return kspace_CHW
    patterns = _patterns(mask)
    result = kspace_CHW.clone()
    keep = min(kspace_CHW.shape[1], MAX_ROWS)
    acs_CHW = torch.zeros_like(kspace_CHW[:, :keep])
    first, last = row_window(kspace_CHW.shape[1], keep)
    acs_CHW[:, :, slice(*mask.acs)] = kspace_CHW[:, first:last, slice(*mask.acs)]
    if not bool((acs_CHW != 0).any()):
        return kspace_CHW
    for sources, columns in patterns.items():
        chosen = torch.tensor(columns, device=kspace_CHW.device)
        weights = _learned(acs_CHW, mask.acs, sources, regularisation, taps)
        seen = _patches(kspace_CHW, chosen, sources, taps)
        result[:, :, chosen] = (seen @ weights).movedim(-1, 0)
    return result


@torch.no_grad()
def filled_or_zero_filled(kspace_CHW: Tensor, mask: SamplingMask, axes: tuple[int, ...]) -> Tensor:
    """The GRAPPA image, or the zero-filled one where there can be no GRAPPA.

    That is: a mask that is no lattice over columns, an ACS too narrow for a kernel, nothing in the
    ACS, or a device that holds no numbers ("meta").

    Args:
        kspace_CHW: Zero where nothing was measured; already an image along the readout where `axes`
            is (-1,).
        mask: Of which nothing but the lines and the ACS need be known.
        axes: That are still to transform.

    Returns:
        The root-sum-of-squares image (H, W), without gradients.
    """
    if kspace_CHW.is_meta:
        return rss(kspace_CHW, 0)
    if mask.lines.ndim == 1 and (mask.nominal is None or mask.offset is None):
        mask = identify(mask.lines)
    try:
        _patterns(mask)
    except DataError:
        return rss(ifft(kspace_CHW, axes), 0)
    columns_CHW = fft(kspace_CHW, (-2,)) if axes == (-1,) else kspace_CHW
    return rss(ifft(filled(columns_CHW, mask)), 0)


def _learned(
    acs_CHW: Tensor, acs: tuple[int, int], sources: Sources, regularisation: float, taps: int
) -> Tensor:
    """Weights (taps * sources * C, C) that predict ACS columns from the columns around them.

    Beyond the ACS there are zeros: the ACS alone is the k-space of a low-resolution image that
    obeys the same relation between coils, so its borders are examples as well.
    """
    columns = torch.arange(*acs, device=acs_CHW.device)
    seen = _patches(acs_CHW, columns, sources, taps).flatten(0, 1)
    wanted = acs_CHW[:, :, columns].movedim(0, -1).flatten(0, 1)
    gram = seen.mH @ seen
    level = regularisation * torch.linalg.norm(gram) / len(gram)
    gram = gram + level * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram, seen.mH @ wanted)


def _patches(kspace_CHW: Tensor, columns: Tensor, sources: Sources, taps: int) -> Tensor:
    """What a kernel sees at each row and column: (H, columns, taps * lines * C)."""
    half, wide = taps // 2, max(map(abs, sources))
    padded = torch.nn.functional.pad(kspace_CHW, (wide, wide, half, half))
    rows = padded.unfold(1, taps, 1)
    seen = torch.stack([rows[:, :, columns + wide + shift] for shift in sources])
    return seen.permute(2, 3, 4, 0, 1).flatten(2)


def _patterns(mask: SamplingMask) -> dict[Sources, list[int]]:
    """Missing columns by where the measured columns around them lie; near the ACS there are more.

    Raises:
        DataError: See `filled`.
    """
    if mask.lines.ndim != 1 or mask.nominal is None or mask.offset is None:
        found = f"a mask of family '{mask.family}'"
        do = "use cg-sense, which takes any mask"
        raise DataError("grappa", found, "a lattice: lines at every R-th column", do)
    if mask.full:
        return {}
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
