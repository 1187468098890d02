"""Flips at inference: an exactly flipped measurement is reconstructed as well, and flipped back.

Nothing is interpolated. In k-space an axis is reflected about its centre N//2 with wrap-around
(index 0 of an even axis stays), which reflects the image in the same way. Along a readout that is
transformed already, rows do not mix, so that they are reversed as they are: no row of a readout
crop comes from its other end.

Along phase encode the mask is flipped too. A lattice of spacing R gets another offset, 2 (W//2) -
offset mod R, unless a line of it passes through W//2, as the challenge's does; column 0 of an even
axis stays, and of an even number of ACS lines one changes sides. So a network sees a mask that it
was perhaps not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from dealias.errors import SettingsError
from dealias.scan.measurement import Measurement
from dealias.table import nearest

Flip = Literal["readout", "phase", "both"]
FLIPS: tuple[Flip, ...] = get_args(Flip)
_AXES: dict[Flip, tuple[int, ...]] = {"readout": (-2,), "phase": (-1,), "both": (-2, -1)}
Solve = Callable[[Measurement], tuple[Tensor, Tensor | None]]
"""Gives the image (B, H, W) of a measurement, and each item's data-consistency residual or None."""


def flips_of(text: str | None) -> tuple[Flip, ...]:
    """What --flips says: "readout", "phase", "both", or several of them.

    Raises:
        SettingsError: Another word, or one twice.
    """
    words = text.split(",") if text is not None else []
    found: list[Flip] = []
    for word in words:
        flip = next((one for one in FLIPS if one == word), None)
        if flip is None or flip in found:
            expected = f"{', '.join(FLIPS)}, or several of them, each once"
            raise SettingsError("--flips", f"'{text}'", expected, nearest(word, list(FLIPS)))
        found.append(flip)
    return tuple(found)


def averaged(
    solve: Solve, measurement: Measurement, flips: Sequence[Flip]
) -> tuple[Tensor, Tensor | None]:
    """The mean image of a measurement and of its flips, each flipped back.

    Args:
        solve: Reconstructs a measurement.
        measurement: Of a batch.
        flips: One pass each, beside the measurement's own.

    Returns:
        Image (B, H, W) on the measurement's grid, and the largest residual of all passes, or None
        where one of them has none.
    """
    image_BHW, residual_B = solve(measurement)
    for flip in flips:
        there_BHW, its_B = solve(flipped(measurement, flip))
        image_BHW = image_BHW + _turned(there_BHW, flip, measurement.axes)
        known = residual_B is not None and its_B is not None
        residual_B = torch.maximum(residual_B, its_B) if known else None  # type: ignore[arg-type]
    return image_BHW / (1 + len(flips)), residual_B


def flipped(measurement: Measurement, flip: Flip) -> Measurement:
    """The measurement of the flipped object by flipped coils: all that belongs to it follows.

    Adjacent slices keep their order, and the route is the measurement's own. Twice is once back.
    """

    def turned(x: Tensor) -> Tensor:
        return _turned(x, flip, measurement.axes)

    sens = measurement.sens_BSCHW
    return replace(
        measurement,
        kspace_BSCHW=turned(measurement.kspace_BSCHW),
        mask_B11HW=turned(measurement.mask_B11HW),
        acs_B11HW=turned(measurement.acs_B11HW),
        sens_BSCHW=None if sens is None else turned(sens),
        priors={name: turned(image_BHW) for name, image_BHW in measurement.priors.items()},
    )


def _turned(x: Tensor, flip: Flip, axes: tuple[int, ...]) -> Tensor:
    """Flip the last two axes of x; those of `axes` are reflected about N//2, others reversed."""
    for axis in _AXES[flip]:
        x = x.flip(axis)
        if axis in axes and x.shape[axis] % 2 == 0:
            x = x.roll(1, axis)
    return x
