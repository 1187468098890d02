"""Attention to where a sampling mask folds signal from: the peaks of its point-spread function."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.lines import laid_out_like
from dealias.models.network import Block

STEPS = 2.0**16
"""Peaks are compared in steps of the highest over this, so that rounding decides nothing."""


class PSFAttention(Block):
    """x + 1x1 convolution of what lies at each position's anchors.

    Anchors are moved, at most by the radius, all over the image alike or as each position asks.
    Rows are closed to circles, as what leaves the field of view at one side folds in at the other.

    Args:
        channels: Of input and output.
        anchors: How many.
        radius: In pixels.
        adaptive: Whether a 1x1 convolution says at each position how to move them.
    """

    def __init__(self, channels: int, anchors: int, radius: float, adaptive: bool) -> None:
        super().__init__()
        self.radius = radius
        self.parts = Conv2d(channels, 3 * channels, 1, bias=False)
        self.last = Conv2d(channels, channels, 1, bias=False)
        # training begins at the anchors themselves
        self.move_K2 = nn.Parameter(torch.zeros(anchors, 2))
        self.asked = Conv2d(channels, 2 * anchors, 1, bias=False) if adaptive else None
        if self.asked is not None:
            nn.init.zeros_(self.asked.weight)

    def forward(self, x: Tensor, anchors_BK2: Tensor, around: bool) -> Tensor:
        """Attend.

        Args:
            x: (B, C, H, W).
            anchors_BK2: Whole numbers (rows, columns), from `psf_anchors`.
            around: Whether columns are circles as well, as they are where both axes are masked.

        Returns:
            (B, C, H, W).
        """
        query, *others = self.parts(x).chunk(3, dim=1)
        exact = torch.promote_types(x.dtype, torch.float32)
        offsets_BK2HW = anchors_BK2[..., None, None] + self._moves(x, exact)
        seen = sampled(torch.cat(others, dim=1).to(exact), offsets_BK2HW, around).to(x.dtype)
        key_BCKHW, value_BCKHW = seen.chunk(2, dim=1)
        scores_BKHW = (query[:, :, None] * key_BCKHW).sum(1) * x.shape[1] ** -0.5
        weights_BKHW = F.softmax(scores_BKHW, dim=1)
        found = laid_out_like((weights_BKHW[:, None] * value_BCKHW).sum(2), x)
        return x + self.last(found)

    def _moves(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(B or 1, K, 2, H, W or 1, 1), in pixels."""
        move = self.move_K2.to(dtype)[None, :, :, None, None]
        if self.asked is not None:
            move = move + self.asked(x).to(dtype).reshape(len(x), -1, 2, *x.shape[-2:])
        return torch.tanh(move) * self.radius


def sampled(x: Tensor, offsets_BK2HW: Tensor, around: bool) -> Tensor:
    """What lies at offsets from each position, interpolated between four pixels.

    Args:
        x: (B, C, H, W).
        offsets_BK2HW: (rows, columns) in pixels, of the same dtype; H and W may be 1 for all alike.
        around: Whether columns are circles, as rows are; otherwise they end.

    Returns:
        (B, C, K, H, W).
    """
    height, width = x.shape[-2:]
    dtype, device = offsets_BK2HW.dtype, x.device
    rows = offsets_BK2HW[:, :, 0] + torch.arange(height, dtype=dtype, device=device)[:, None]
    columns = offsets_BK2HW[:, :, 1] + torch.arange(width, dtype=dtype, device=device)
    rows = rows.remainder(height) if around else rows.clamp(0, height - 1)
    # grid_sample counts -1 .. 1 from the first pixel to the last, which is the first once more,
    # and wants columns before rows
    shape = (*columns.shape[:2], height, width)
    places = [columns.remainder(width) / width, rows / height]
    grid = torch.stack([place.expand(shape) for place in places], dim=-1) * 2 - 1
    closed = F.pad(x, (0, 1, 0, 1), mode="circular")
    found = F.grid_sample(closed, grid.flatten(1, 2), mode="bilinear", align_corners=True)
    return found.reshape(*found.shape[:2], -1, height, width)


def psf_anchors(lines_B11HW: Tensor, count: int, centre: bool) -> Tensor:
    """Offsets, in pixels, of the highest peaks of each mask's point-spread function.

    A peak is higher than its neighbours on a circle, so that an alias between two pixels counts
    once. With equispaced lines the highest are the aliases.

    Args:
        lines_B11HW: bool, the sampled lines without the ACS lines, which blur and do not fold; H is
            1 for masks over phase-encode lines, which have no offset in H.
        count: Of anchors; where there are fewer peaks the rest are 0.
        centre: Whether the centre, which none is higher than, is one of them.

    Returns:
        (B, count, 2) whole numbers (rows, columns): the centre, then the highest first; of equally
        high ones, the one that comes first in the image.
    """
    height_BHW = _peaks(lines_B11HW[:, 0, 0].to(torch.float32), centre)
    height, width = height_BHW.shape[-2:]
    flat = F.pad(height_BHW.flatten(1), (0, max(0, count - height * width)))
    best, index = torch.sort(flat, dim=1, descending=True, stable=True)
    index, found = index[:, :count], best[:, :count] > 0
    offsets = torch.stack([index // width - height // 2, index % width - width // 2], dim=-1)
    return torch.where(found[..., None], offsets, torch.zeros_like(offsets))


def _peaks(lines_BHW: Tensor, centre: bool) -> Tensor:
    """|PSF| where it is a local maximum, else 0, with its centre at (H//2, W//2)."""
    shift = (-2, -1)
    psf = torch.fft.fftshift(torch.fft.ifftn(lines_BHW, dim=shift).abs(), dim=shift)
    # exactly as high on either side, whatever the transform rounds
    mirrored = torch.roll(psf.flip(shift), [1 - size % 2 for size in psf.shape[-2:]], shift)
    psf = psf + mirrored
    highest = psf.amax(shift, keepdim=True)
    psf = torch.round(psf * STEPS / torch.where(highest == 0, torch.ones_like(highest), highest))
    peak = psf > 0
    for step in _neighbours(*psf.shape[-2:]):
        other = torch.roll(psf, step, shift)
        # of several equally high in a row, the last
        peak = peak & (psf >= other if step > (0, 0) else psf > other)
    peaks = torch.where(peak, psf, torch.zeros_like(psf))
    # aliases of a perfect lattice are as high as the centre, which comes before them
    peaks[:, psf.shape[1] // 2, psf.shape[2] // 2] *= 2 if centre else 0
    return peaks


def _neighbours(height: int, width: int) -> list[tuple[int, int]]:
    rows, columns = ((-1, 0, 1) if size > 1 else (0,) for size in (height, width))
    return [step for step in product(rows, columns) if step != (0, 0)]
