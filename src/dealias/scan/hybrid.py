"""Hybrid space: k-space that is an image along the readout already, of which some rows are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dealias.errors import DataError
from dealias.physics.fourier import ifft

Array = npt.NDArray[Any]
Rows = tuple[int, int]


@dataclass(frozen=True)
class Hybrid:
    """What makes hybrid-space rows as good as the k-space they came from.

    Each slice was multiplied by the power of two of its own `peaks` before the transform, so that
    data of any scale keep their bits.

    Attributes:
        rows: [start, stop) of the readout that is kept.
        encoded: H, the rows of k-space.
        peaks_BSW: float32, the largest |real| or |imaginary| part of every column of k-space, over
            coils and all rows: the maximum under any mask of lines is known exactly. A single
            sample has no axis B.
    """

    rows: Rows
    encoded: int
    peaks_BSW: Tensor

    def scales(self, lines_BW: Tensor) -> tuple[Tensor, Tensor]:
        """The scale of k-space under masks of lines, and what rows are multiplied by to have it.

        Args:
            lines_BW: bool, True where sampled.

        Returns:
            scale_B as `measure` would find it in k-space, and factor_BS; all powers of two.
        """
        sampled_BSW = torch.where(lines_BW[:, None], self.peaks_BSW, 0)
        scale_B = power_of_two(sampled_BSW.amax((1, 2)))
        return scale_B, scale_B[:, None] / power_of_two(self.peaks_BSW.amax(-1))


class CachedSource(Protocol):
    """What a cache knows of a scan in place of its k-space."""

    @property
    def id(self) -> str:
        """The scan's content hash, taken from k-space."""
        ...

    @property
    def rows(self) -> Rows:
        """[start, stop) of the readout that is kept."""
        ...

    @property
    def largest(self) -> float:
        """Largest magnitude of the middle slice's k-space."""
        ...

    @property
    def maximum(self) -> float | None:
        """Maximum of the target over the volume, or None where there is no target."""
        ...

    def hybrid(self, slices: Sequence[int], rows: Rows) -> tuple[Tensor, Hybrid]:
        """Rows of some slices, (S, C, rows, W) complex64, and what belongs to them.

        Raises:
            DataError: Rows that are not kept, or a file that cannot be used.
        """
        ...

    def foreground(self, z: int, threshold: float) -> Array | None:
        """The foreground of a slice, (H, W) bool; None if it was made with another threshold."""
        ...


def power_of_two(peak: Tensor) -> Tensor:
    """The power of two that brings a peak into [0.5, 1), of the same shape; 1 for a peak of 0."""
    exponent = torch.frexp(peak).exponent.clamp(-120, 120)
    return torch.ldexp(torch.ones_like(peak), -exponent)


def along_readout(kspace: Tensor) -> Tensor:
    """k-space (..., H, W) to an image along the readout; bits depend on the column alone.

    MKL rounds columns of a strided tensor differently from contiguous ones on some processors, and
    whether torch copies them depends on how many coils, slices and items there are.
    """
    return ifft(kspace.mT.contiguous(), (-1,)).mT


def to_hybrid(kspace_CHW: Array, rows: Rows) -> tuple[Array, Array]:
    """One slice as a cache keeps it.

    Columns do not mix, so masking them before or after makes no difference in any bit.

    Args:
        kspace_CHW: complex64, full or masked by lines, centred.
        rows: [start, stop) to keep.

    Returns:
        (C, rows, W) complex64, scaled as `Hybrid` says, and (W,) float32, its `peaks`.
    """
    peaks_W = np.maximum(np.abs(kspace_CHW.real), np.abs(kspace_CHW.imag)).max((0, 1))
    scale = power_of_two(torch.from_numpy(peaks_W).amax())
    image_CHW = along_readout(torch.from_numpy(kspace_CHW) * scale)
    return np.ascontiguousarray(image_CHW[:, slice(*rows)].numpy()), peaks_W


def refuse_unless_kept(where: object, kept: Rows, needed: Rows, encoded: int) -> None:
    """Refuse a cache that is too narrow for what is asked of it.

    Args:
        where: The scan, for the message.
        kept: [start, stop) of the readout in the cache.
        needed: The rows that a network's crop, or an augmentation that moves rows, works on.
        encoded: H.

    Raises:
        DataError: A needed row is not kept.
    """
    if kept[0] <= needed[0] and needed[1] <= kept[1]:
        return
    found = f"a cache of rows {kept[0]} to {kept[1]} of {encoded}"
    wanted = "all rows" if needed == (0, encoded) else f"rows {needed[0]} to {needed[1]}"
    do = "set a smaller network.readout_crop, or make a wider cache (dealias cache --margin M|all)"
    raise DataError(where, found, f"{wanted}, as the network or augmentation needs", do)


def refuse_planes(where: object, axes: tuple[int, ...]) -> None:
    """Refuse a 2-D mask over rows that are an image already.

    Raises:
        DataError: It is one.
    """
    if axes != (-1,):
        found, expected = "a 2-D mask over a cache of readout rows", "a mask of phase-encode lines"
        raise DataError(where, found, expected, "use the files that the cache was made from")
