"""Telling what kind of 2-D mask this is, by what the neighbours of its samples do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dealias.physics.sampling.density import radius
from dealias.physics.sampling.mask import Bools, SamplingMask

SPARSE = 0.3
"""Where this share or less is sampled, Poisson discs have no two samples side by side."""
FEWEST_PAIRS = 40
"""With fewer pairs to be expected by chance, nothing is said."""
FALL = 1.5
"""Both families are at least so much denser in the inner half than at the edges."""
_WINDOW = 9

Box = tuple[tuple[int, int], tuple[int, int]]
Indices = npt.NDArray[np.intp]


def identify_plane(lines: Bools) -> SamplingMask:
    """Find family, acceleration and fully sampled centre of a 2-D mask.

    "variable_density" has as many samples side by side as independent draws of its density have,
    "poisson_disc" next to none where sampling is sparse; both fall off from the centre. What is
    neither is "custom"; so is variable_density at X2, and often at X3 and X4 on less than 96 x 96
    points, where too little of it is sparse. The box of the centre is not smaller than the one that
    was asked for, and larger where samples close up around it.

    Args:
        lines: (H, W) bool, not the same in all rows.

    Returns:
        The mask; nominal is the effective acceleration, rounded, and None for "custom".
    """
    if lines.all():
        return SamplingMask(lines, (0, lines.shape[1]), 1.0, "full", 0, (0, lines.shape[0]))
    rows, columns = centre_box(lines)
    family = _family(lines, (rows, columns))
    nominal = None if family == "custom" else float(round(lines.size / int(lines.sum())))
    return SamplingMask(lines, columns, nominal, family, None, rows)


def centre_box(lines: Bools) -> Box:
    """[start, stop) along H and W of the fully sampled box where fastMRI's rule puts its ACS.

    Of all sampled boxes the one whose smaller share of an axis is largest, then the largest;
    empty if the middle is not sampled.
    """
    sums = np.pad(lines.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (rows, y), (columns, x) = (_ranges(size) for size in lines.shape)
    inside = sums[y[1]][:, x[1]] - sums[y[0]][:, x[1]] - sums[y[1]][:, x[0]] + sums[y[0]][:, x[0]]
    area = rows[:, None] * columns
    shares = np.minimum(rows[:, None] / lines.shape[0], columns / lines.shape[1])
    # an area is below 1 in these units, and decides between equal shares alone
    rank = np.where(inside == area, shares + 1e-6 * area / lines.size, -1.0)
    i, j = np.unravel_index(rank.argmax(), rank.shape)
    return (int(y[0][i]), int(y[1][i])), (int(x[0][j]), int(x[1][j]))


def _ranges(size: int) -> tuple[Indices, tuple[Indices, Indices]]:
    """All numbers of ACS lines of an axis, and where each starts and stops."""
    counts = np.arange(size + 1)
    start = (size - counts + 1) // 2
    return counts, (start, start + counts)


def _family(lines: Bools, box: Box) -> str:
    distance = radius((lines.shape[0], lines.shape[1]))
    apart = np.ones_like(lines)
    apart[slice(*box[0]), slice(*box[1])] = False
    inner, outer = (lines[where].mean() if where.any() else 0.0
                    for where in (apart & (distance < 0.5), apart & (distance > 0.8)))  # fmt: skip
    ratio = _side_by_side(lines, apart)
    if ratio is None or inner < FALL * outer:
        return "custom"
    return "poisson_disc" if ratio < 0.2 else "variable_density" if 0.5 < ratio < 1.4 else "custom"


def _side_by_side(lines: Bools, apart: Bools) -> float | None:
    """Pairs of neighbouring samples, over what independent draws of the same density would have.

    Looked at where sampling is sparse alone; None where too few are to be expected.
    """
    seen = (lines & apart).astype(float)
    density = ndimage.uniform_filter(seen, _WINDOW)
    open_ = apart & (density <= SPARSE)
    found = expected = 0.0
    for turn in (np.array, np.transpose):
        here, there = turn(open_)[:-1], turn(open_)[1:]
        found += float((turn(seen)[:-1] * turn(seen)[1:])[here & there].sum())
        expected += float((turn(density)[:-1] * turn(density)[1:])[here & there].sum())
    return found / expected if expected >= FEWEST_PAIRS else None
