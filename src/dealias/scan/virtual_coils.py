"""Coil compression of a measurement: what a network sees in place of all coils.

It is computed of the rows that the network sees, after masking, so nothing that was not measured
can play a part; and for each item alone, so neither can the other items of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, PlainValidator
from torch import Tensor

from dealias.errors import SettingsError
from dealias.physics.compression import compress_images, gcc, scc
from dealias.physics.sampling.mask import SamplingMask


def _kept(value: Any) -> int | float:
    """A plain union would name its members in messages."""
    if type(value) is int and value >= 1:
        return value
    if type(value) is float and 0 < value <= 1:
        return value
    raise ValueError("a number of coils such as 8, or a share of energy such as 0.95")


class CompressionSettings(BaseModel):
    """How coils are compressed.

    Attributes:
        kind: "scc", one matrix for all rows; "gcc", one for each row of a fully sampled readout.
        keep: 8 virtual coils, or all where there are fewer coils; or 0.95: as many as hold this
            share of the ACS lines' energy. Batches need one number: items with fewer than others
            then get blank coils, which change nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["scc", "gcc"]
    keep: Annotated[int | float, PlainValidator(_kept)]

    def coils(self, measured: int) -> int:
        """How many virtual coils of C coils there are, at most."""
        return min(self.keep, measured) if isinstance(self.keep, int) else measured


def with_virtual_coils(
    kspace_BSCHW: Tensor,
    sens_BSCHW: Tensor | None,
    masks: Sequence[SamplingMask],
    axes: tuple[int, ...],
    settings: CompressionSettings,
) -> tuple[Tensor, Tensor | None]:
    """k-space and sensitivity maps of the virtual coils.

    An item's adjacent slices share their matrices: networks see them side by side. Maps are
    compressed by the same matrices, which is exact: those of virtual coils are sums of coils' maps.

    Args:
        kspace_BSCHW: Complex, 0 off the mask; an image along the readout where `axes` is (-1,).
        sens_BSCHW: Maps of its coils, (B, S, C, H, W) or (B, S, M, C, H, W), or None.
        masks: One per item.
        axes: Axes that are still to transform.
        settings: How.

    Returns:
        Both, with V coils in place of C, of the same dtype and device.

    Raises:
        SettingsError: GCC, and a mask over both axes, which leaves no readout to transform.
        DataError: A mask has no ACS lines, or k-space is not finite.
    """
    if settings.kind == "gcc" and axes != (-1,):
        expected = "a mask over phase-encode lines, which leaves the readout fully sampled"
        do = "set network.compression.kind=scc"
        raise SettingsError("network.compression", "gcc with a 2-D mask", expected, do)
    matrices = _matrices(kspace_BSCHW, masks, settings)
    sens_BSCHW = None if sens_BSCHW is None else _compressed(sens_BSCHW, matrices)
    return _compressed(kspace_BSCHW, matrices), sens_BSCHW


@torch.no_grad()
def _matrices(
    kspace_BSCHW: Tensor, masks: Sequence[SamplingMask], settings: CompressionSettings
) -> list[Tensor]:
    """Each item's (V, C) or (H, V, C), those with fewer virtual coils filled up with rows of 0."""
    if kspace_BSCHW.is_meta:
        coils, rows = kspace_BSCHW.shape[2:4]
        shape = (rows,) * (settings.kind == "gcc") + (settings.coils(coils), coils)
        return [kspace_BSCHW.new_empty(shape, dtype=torch.complex128)] * len(kspace_BSCHW)
    found = [_of(one, mask, settings) for one, mask in zip(kspace_BSCHW, masks, strict=True)]
    most = max(one.shape[-2] for one in found)
    return [torch.nn.functional.pad(one, (0, 0, 0, most - one.shape[-2])) for one in found]


def _of(kspace_SCHW: Tensor, mask: SamplingMask, settings: CompressionSettings) -> Tensor:
    """One item's matrices. Many small ones: a CPU's work, wherever the data are."""
    acs_SCHW = kspace_SCHW[..., slice(*mask.acs)].cpu()
    lines, coils = (0, acs_SCHW.shape[-1]), kspace_SCHW.shape[1]
    keep = settings.coils(coils) if isinstance(settings.keep, int) else settings.keep
    if settings.kind == "gcc":
        return gcc(acs_SCHW, lines, keep, transformed=True)
    return scc(acs_SCHW, lines, keep, mask.acs_rows)


def _compressed(images: Tensor, matrices: list[Tensor]) -> Tensor:
    each = zip(images, matrices, strict=True)
    return torch.stack([compress_images(one, matrix) for one, matrix in each])
