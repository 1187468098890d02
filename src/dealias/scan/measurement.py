"""A measurement: one batch of one shape on one device, as networks see it.

Axes: B items, S adjacent slices, C coils, H readout, W phase encode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.physics.coils import divide, rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.grappa import filled_or_zero_filled
from dealias.physics.readout import centre_crop_or_pad, row_window
from dealias.physics.sampling.mask import Bools, SamplingMask
from dealias.physics.sense import Sense
from dealias.scan.hybrid import (
    Hybrid,
    along_readout,
    power_of_two,
    refuse_planes,
    refuse_unless_kept,
)
from dealias.scan.virtual_coils import CompressionSettings, with_virtual_coils

CROP = 0.8
"""Where ESPIRiT's eigenvalue is lower, there is no signal (Uecker et al. 2014)."""
Prior = Literal["grappa"]
"""An image that comes with the measurement, made from nothing but what was measured."""


@dataclass(frozen=True)
class Needs:
    """What a network asks of the data.

    Attributes:
        slices: Adjacent slices seen together, odd.
        maps: "espirit" where sensitivity maps must come with the measurement.
        crop: ESPIRiT's threshold of the eigenvalue: lower ones are no signal, and maps are 0 there.
        sets: Of maps: more than 1 where the field of view is smaller than the body.
        readout_crop: Margin in rows kept beyond the target's field of view on the readout axis, or
            None to keep all rows. Exact for data consistency, but it changes what a network
            computes, so it is part of a model's configuration.
        priors: Images that must come with the measurement.
        stored_priors: Whether they are the data's own, where it holds some that were made under the
            same mask; else all are made here.
        compression: How coils are compressed, or None to keep all; a part of a model's
            configuration as `readout_crop` is.
    """

    slices: int = 1
    maps: Literal["none", "espirit"] = "none"
    crop: float = CROP
    sets: int = 1
    readout_crop: int | None = None
    priors: tuple[Prior, ...] = ()
    stored_priors: bool = False
    compression: CompressionSettings | None = None

    def coils(self, measured: int) -> int:
        """How many coils the network sees, at most.

        Args:
            measured: C of k-space.
        """
        return measured if self.compression is None else self.compression.coils(measured)

    def rows(self, encoded: int, target: int) -> tuple[int, int]:
        """[start, stop) of the readout that the network sees, where lines are masked.

        Args:
            encoded: H of k-space.
            target: H of the image that is scored.
        """
        if self.readout_crop is None:
            return 0, encoded
        return row_window(encoded, min(encoded, target + 2 * self.readout_crop))


class Estimate(NamedTuple):
    """What a network gives, in the measurement's own scale and grid.

    Attributes:
        image_BHW: Magnitude of the centre slice, >= 0.
        combined_BSHW: Coil-combined complex image, or None.
        sens_BSCHW: The sensitivity maps it belongs to, or None.
        coil_images_BSCHW: Complex images of which image_BHW is the root sum of squares, where a
            network carries k-space; None where they are sens_BSCHW * combined_BSHW, if anything.
    """

    image_BHW: Tensor
    combined_BSHW: Tensor | None = None
    sens_BSCHW: Tensor | None = None
    coil_images_BSCHW: Tensor | None = None


class Reconstructor(Protocol):
    """Anything that stands where a model stands: networks and classical methods."""

    @property
    def needs(self) -> Needs:
        """What it asks of the data."""
        ...

    def __call__(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch."""
        ...


@dataclass(frozen=True)
class Measurement:
    """Undersampled k-space, ready for a network.

    Attributes:
        kspace_BSCHW: Complex, exactly 0 off the mask, scaled by `scale_B`; already an image along
            the readout if `axes` is (-1,) (hybrid space). C are virtual coils where the network
            asked for them.
        mask_B11HW: bool, broadcastable to k-space; True where sampled.
        acs_B11HW: bool, the ACS region alone.
        axes: Axes that are still to transform: (-1,) or (-2, -1).
        target_hw: Grid of the image that is scored.
        scale_B: Powers of two that k-space was multiplied by (so that its largest magnitude, before
            coils are compressed, lies in [0.5, 1)); exact, and undone by `window`.
        sens_BSCHW: Sensitivity maps, where the network needs them; M sets are (B, S, M, C, H, W).
        priors: What `Needs.priors` asked for, by name: (B, H, W) real, of the centre slice, on this
            grid and scale, without gradients.
        accelerations: Of each item, how many positions lie on one another where its lines are
            equispaced: the nominal acceleration as a whole number. Python's own numbers, so that
            shapes inside a network may follow them.
        route: Which expert the batch is for, where the network has several.
    """

    kspace_BSCHW: Tensor
    mask_B11HW: Tensor
    acs_B11HW: Tensor
    axes: tuple[int, ...]
    target_hw: tuple[int, int]
    scale_B: Tensor
    sens_BSCHW: Tensor | None = None
    priors: Mapping[str, Tensor] = field(default_factory=dict)
    accelerations: tuple[int, ...] = ()
    route: str | None = None

    def coil_images(self) -> Tensor:
        """Zero-filled coil images F^H y, (B, S, C, H, W) complex."""
        return ifft(self.kspace_BSCHW, self.axes)

    def zero_filled(self) -> Tensor:
        """Root-sum-of-squares of the centre slice's zero-filled coil images, (B, H, W) real."""
        images = self.coil_images()
        return rss(images[:, images.shape[1] // 2], coil_axis=1)

    def window(self, image_BHW: Tensor) -> Tensor:
        """Image on the measurement's grid and scale to the target's grid and the data's scale."""
        image = centre_crop_or_pad(image_BHW, self.target_hw)
        return image / self.scale_B.to(image.dtype)[:, None, None]

    def operator(self, sens_BSCHW: Tensor) -> Sense:
        """The encoding operator of this measurement with these maps."""
        return Sense(sens_BSCHW, self.mask_B11HW, self.axes)


def measure(
    kspace_BSCHW: Tensor,
    masks: Sequence[SamplingMask],
    target_hw: tuple[int, int],
    needs: Needs,
    sens_BSCHW: Tensor | None = None,
    hybrid: Hybrid | None = None,
    stored: Sequence[Mapping[str, Tensor]] = (),
) -> Measurement:
    """Mask, scale and (for 1-D masks) transform and crop the readout; compress the coils.

    Args:
        kspace_BSCHW: k-space, complex64 or complex128, full or already masked, centred, on the
            device where the work shall be done; or rows from a cache, then with `hybrid`.
        masks: One mask per item, all 1-D or all 2-D.
        target_hw: Grid of the image that is scored.
        needs: What the network asks for.
        sens_BSCHW: Sensitivity maps on the full grid, if the network needs them.
        hybrid: Says which rows these are, if they are an image along the readout already. The
            measurement has the same bits as one of k-space, on the device the cache was made on.
        stored: Of each item, the data's own images (H, W) on the target's grid, by name, in place
            of priors that would be made here.

    Returns:
        The measurement.

    Raises:
        SettingsError: A readout crop was asked for with a 2-D mask: rows would mix. Or GCC.
        DataError: The cache does not hold the rows, or a 2-D mask was asked of it. Coils were to
            be compressed and a mask has no ACS lines.
    """
    device = kspace_BSCHW.device
    axes = masks[0].axes
    mask = _broadcastable([mask.lines for mask in masks], device)
    acs = _broadcastable([mask.acs_lines() for mask in masks], device)
    encoded, first = kspace_BSCHW.shape[-2], 0
    if hybrid is not None:
        refuse_planes("the cache", axes)
        encoded, first = hybrid.encoded, hybrid.rows[0]
    start, stop = _window(needs, axes, encoded, target_hw)
    kept = (first, first + kspace_BSCHW.shape[-2])
    refuse_unless_kept("the cache", kept, (start, stop), encoded)
    rows = (start - first, stop - first)
    if hybrid is not None:
        scale_B, factor_BS = hybrid.scales(mask[:, 0, 0, 0])
        kspace = _coil_by_coil(kspace_BSCHW, mask, factor_BS, False, rows)
    else:
        scale_B = power_of_two(_peak(kspace_BSCHW, mask))
        kspace = _coil_by_coil(kspace_BSCHW, mask, scale_B[:, None], axes == (-1,), rows)
    sens_BSCHW = sens_BSCHW[..., start:stop, :] if sens_BSCHW is not None else None
    if needs.compression is not None:
        kspace, sens_BSCHW = with_virtual_coils(kspace, sens_BSCHW, masks, axes, needs.compression)
    priors = {}
    if "grappa" in needs.priors:
        known = [images.get("grappa") for images in stored] or [None] * len(masks)
        priors["grappa"] = _grappa(kspace, masks, axes, scale_B, known)
    accelerations = tuple(_acceleration(mask) for mask in masks)
    return Measurement(
        kspace, mask, acs, axes, target_hw, scale_B, sens_BSCHW, priors, accelerations
    )


def _acceleration(mask: SamplingMask) -> int:
    """The nominal acceleration; the lattice's spacing, or else the effective one, where unknown."""
    if mask.nominal is not None:
        return max(1, round(mask.nominal))
    if mask.lines.ndim == 1:
        gaps = np.diff(np.flatnonzero(mask.lines & ~mask.acs_lines()))
        # the one gap that is wider is where the lattice passes the ACS lines
        if gaps.size > 1 and (gaps == gaps.min()).sum() >= gaps.size - 1:
            return int(gaps.min())
    return round(mask.effective) if np.isfinite(mask.effective) else 1


def _grappa(
    kspace_BSCHW: Tensor,
    masks: Sequence[SamplingMask],
    axes: tuple[int, ...],
    scale_B: Tensor,
    known: Sequence[Tensor | None],
) -> Tensor:
    """Each item's known image on this grid and scale, or one that is made here."""
    kspace_BCHW = kspace_BSCHW[:, kspace_BSCHW.shape[1] // 2]
    grid = (kspace_BSCHW.shape[-2], kspace_BSCHW.shape[-1])
    images = []
    for kspace_CHW, mask, scale, image_HW in zip(kspace_BCHW, masks, scale_B, known, strict=True):
        if image_HW is None:
            images.append(filled_or_zero_filled(kspace_CHW, mask, axes))
        else:
            here_HW = image_HW.to(scale.device, scale.dtype)
            images.append(centre_crop_or_pad(here_HW, grid) * scale)
    return torch.stack(images)


def _peak(kspace_BSCHW: Tensor, mask_B11HW: Tensor) -> Tensor:
    """The largest |real| or |imaginary| part of each item's samples, (B,)."""
    zero = torch.zeros((), dtype=kspace_BSCHW.dtype, device=kspace_BSCHW.device)
    peaks = [
        torch.view_as_real(torch.where(mask_B11HW[:, :, 0], coil, zero)).abs().flatten(1).amax(1)
        for coil in kspace_BSCHW.unbind(2)
    ]
    return torch.stack(peaks).amax(0)


def _coil_by_coil(
    kspace_BSCHW: Tensor, mask_B11HW: Tensor, factor_BS: Tensor, transform: bool,
    rows: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Mask, scale, transform the readout and crop, holding one coil beside what comes out."""
    zero = torch.zeros((), dtype=kspace_BSCHW.dtype, device=kspace_BSCHW.device)
    shape = kspace_BSCHW.shape
    out = kspace_BSCHW.new_empty((*shape[:3], rows[1] - rows[0], shape[-1]))
    for number, coil in enumerate(kspace_BSCHW.unbind(2)):
        scaled = torch.where(mask_B11HW[:, :, 0], coil, zero) * factor_BS[..., None, None]
        image = along_readout(scaled) if transform else scaled
        out[:, :, number] = image[..., rows[0] : rows[1], :]
    return out


def _window(
    needs: Needs, axes: tuple[int, ...], encoded: int, target_hw: tuple[int, int]
) -> tuple[int, int]:
    if needs.readout_crop is not None and axes != (-1,):
        raise SettingsError(
            "readout_crop",
            "a 2-D mask",
            "a mask over phase-encode lines, which leaves rows independent",
            "set network.readout_crop=null",
        )
    return needs.rows(encoded, target_hw[0])


def residual(measurement: Measurement, estimate: Estimate) -> Tensor | None:
    """Data-consistency residual ||M F c - y|| / ||y|| of each item; 0 for an empty slice.

    c are the coil images that make the image: those of the network's own k-space, or S x. A pure
    measurement check: it needs no reference. None where the network gives no complex image.
    """
    y = measurement.kspace_BSCHW
    if estimate.coil_images_BSCHW is not None:
        kspace_BSCHW = fft(estimate.coil_images_BSCHW, measurement.axes)
        off = (kspace_BSCHW - y).mul_(measurement.mask_B11HW)
    elif estimate.combined_BSHW is not None and estimate.sens_BSCHW is not None:
        off = measurement.operator(estimate.sens_BSCHW).forward(estimate.combined_BSHW) - y
    else:
        return None
    return divide(_norm(off) * (_norm(y) > 0), _norm(y))


def _norm(x: Tensor) -> Tensor:
    # torch takes 30 times as long for complex numbers
    return torch.linalg.vector_norm(torch.view_as_real(x.resolve_conj()).flatten(1), dim=1)


def _broadcastable(lines: list[Bools], device: torch.device) -> Tensor:
    stacked = torch.from_numpy(np.stack(lines)).to(device)
    rows = 1 if stacked.ndim == 2 else stacked.shape[1]
    return stacked.reshape(len(lines), 1, 1, rows, stacked.shape[-1])
