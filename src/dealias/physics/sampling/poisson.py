"""Poisson-disc masks: two phase encodes, samples that keep their distance from each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dealias.errors import SettingsError
from dealias.physics.sampling.density import Floats, centre_box, radius
from dealias.physics.sampling.mask import Bools, SamplingMask

Indices = npt.NDArray[np.intp]

CENTRAL = 0.5
"""Distance at the centre over its growth from there to the middle of an edge."""
_WIDEST, _NARROWER = 1.1, 0.98
"""Where the search for the distance begins, over what theory foretells, and its steps."""
_JAMMED = 0.7
"""Samples that fit, thrown at random, into the square of their distance (Renyi's jamming)."""


def poisson_disc_mask(
    hw: tuple[int, int], acceleration: int, centre_fraction: float, rng: np.random.Generator
) -> SamplingMask:
    """Samples that keep a distance from each other, which grows away from the centre.

    Darts are thrown (Cook, ACM Trans Graph 5:51, 1986; for MRI Vasanawala et al., ISBI 2011): in a
    random order, each point of the grid is taken unless one taken before is nearer than the mean
    of the two points' distances s (0.5 + r), r the distance from the centre, 1 at the middle of an
    edge. s is the largest of a geometric row at which R is met. Samples of the ACS keep none.

    Args:
        hw: (H, W), both of them phase encodes.
        acceleration: R: round(H W / R) samples, the centre included, are taken exactly.
        centre_fraction: Share of each axis that is fully sampled.
        rng: The order of the points: one permutation.

    Returns:
        The mask, of family "poisson_disc".

    Raises:
        SettingsError: The centre alone is H W / R or more.
    """
    inside, acs = centre_box(hw, centre_fraction)
    wanted = round(inside.size / acceleration) - int(inside.sum())
    if wanted < 1:
        found = f"a centre of {int(inside.sum())} samples"
        expected = f"fewer than H W / R = {inside.size / acceleration:g}"
        raise SettingsError("masks.centre_fraction", found, expected, "choose a smaller share")
    growth = CENTRAL + radius(hw)
    scale = _WIDEST * float(np.sqrt(_JAMMED * np.sum(growth[~inside] ** -2) / wanted))
    board = Board(inside, rng.permutation(inside.size), reach=int(scale * growth.max()) + 1)
    while (missing := wanted - board.taken.size) > 0:
        board.throw(scale * growth, missing)
        scale *= _NARROWER
    lines = inside | board.samples()
    return SamplingMask(lines, acs[1], float(acceleration), "poisson_disc", None, acs[0])


class Board:
    """Darts on a grid.

    The grid has a margin that no dart may hit, so that neighbours are a plain shift of flat
    indices. Points are not taken one after the other but all at once wherever a point comes before
    all open ones that are too near; that gives the very samples that one after the other would.

    Args:
        closed: (H, W), where no dart may go.
        order: Place of each point, row by row, in the order of throwing.
        reach: No distance is larger.
    """

    def __init__(self, closed: Bools, order: npt.NDArray[np.int64], reach: int) -> None:
        self._reach, self._hw = reach, closed.shape
        self._last = closed.size
        """A place behind all others: the point is closed."""
        place = np.where(closed, self._last, order.reshape(closed.shape))
        self._place = np.pad(place, reach, constant_values=self._last).ravel()
        self._stride = closed.shape[1] + 2 * reach
        self.taken: Indices = np.zeros(0, dtype=np.intp)

    def throw(self, distance_HW: Floats, most: int) -> None:
        """Add samples at these distances until there is room for no more, or `most` are added."""
        distance = np.pad(distance_HW, self._reach).ravel()
        shifts = self._shifts(float(distance.max()))
        place = self._place.copy()
        _close(place, self._last, self.taken, distance, shifts)
        added = [self.taken[:0]]
        while (winners := np.flatnonzero(place < self._last)).size:
            for shift, length in shifts:
                near = winners + shift
                beaten = place[near] < place[winners]
                beaten &= length < (distance[near] + distance[winners]) / 2
                winners = winners[~beaten]
            _close(place, self._last, winners, distance, shifts)
            added.append(winners)
        new = np.concatenate(added)
        new = new[np.argsort(self._place[new])][:most]
        self.taken = np.concatenate([self.taken, new])

    def samples(self) -> Bools:
        """(H, W): where the darts are."""
        lines = np.zeros(self._place.shape, dtype=bool)
        lines[self.taken] = True
        rows, columns = (slice(self._reach, self._reach + size) for size in self._hw)
        return lines.reshape(-1, self._stride)[rows, columns]

    def _shifts(self, longest: float) -> list[tuple[int, float]]:
        """Flat shifts to all neighbours that may be too near, and their lengths, shortest first."""
        span = np.arange(-self._reach, self._reach + 1)
        y, x = (axis.ravel() for axis in np.meshgrid(span, span, indexing="ij"))
        length = np.hypot(y, x)
        chosen = np.argsort(length, kind="stable")[1 : np.count_nonzero(length < longest)]
        return [(int(y[i] * self._stride + x[i]), float(length[i])) for i in chosen]


def _close(
    place: npt.NDArray[np.int64],
    last: int,
    samples: Indices,
    distance: Floats,
    shifts: list[tuple[int, float]],
) -> None:
    """Close the samples and all points that are too near to them, in place."""
    place[samples] = last
    for shift, length in shifts:
        near = samples + shift
        place[near[length < (distance[near] + distance[samples]) / 2]] = last
