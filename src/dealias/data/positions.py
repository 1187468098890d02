"""Where the anatomy lies, how large and how turned it is, before and after augmentation.

Limits of augmentation are well chosen where these distributions keep their shape: what a network
never meets it need not learn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dealias.data.augment import TransformSettings
from dealias.data.augment_slices import anatomy_of
from dealias.data.samples import Samples
from dealias.data.strength import Strengths
from dealias.scan.scan import Array

ROUND = 1.1
"""Below this ratio of its axes a foreground has no direction."""


class Position(NamedTuple):
    """The ellipse with a foreground's moments.

    Attributes:
        row: Of its centre below the grid's, as a share of k-space's H.
        column: To the right of the grid's, as a share of W.
        extent: Geometric mean of its two diameters, in pixels.
        aspect: Its longer diameter over the shorter.
        angle: Degrees of the longer one, counter-clockwise from the vertical, -90 to 90; NaN where
            the ellipse is as good as round.
    """

    row: float
    column: float
    extent: float
    aspect: float
    angle: float


class Histogram(NamedTuple):
    """How often a quantity lies where, with the same edges before and after."""

    edges: Array
    before: Array
    after: Array

    @property
    def overlap(self) -> float:
        """The share that both have in common, 0..1."""
        parts = [counts / max(counts.sum(), 1) for counts in (self.before, self.after)]
        return float(np.minimum(*parts).sum())


def position(inside_HW: Array, encoded_hw: tuple[int, int]) -> Position | None:
    """Where a foreground lies, None if there is none.

    Args:
        inside_HW: Nonzero inside, on the target's grid, which has k-space's pixels.
        encoded_hw: k-space's grid.
    """
    places_N2 = np.argwhere(inside_HW).astype(np.float64)
    if not len(places_N2):
        return None
    middle = (np.array(np.shape(inside_HW)) - 1) / 2
    centre = places_N2.mean(axis=0)
    # a pixel is a square, whose own variance of 1/12 keeps a single row from having no width
    spread = np.cov(places_N2.T, bias=True) + np.eye(2) / 12
    (small, large), axes = np.linalg.eigh(spread)
    aspect = math.sqrt(large / small)
    down, right = axes[:, 1] * (1 if axes[0, 1] >= 0 else -1)
    angle = math.degrees(math.atan2(right, down)) if aspect >= ROUND else math.nan
    row, column = (centre - middle) / np.array(encoded_hw)
    # an ellipse's variance along an axis is a sixteenth of that diameter's square
    extent = 4 * (small * large) ** 0.25
    return Position(float(row), float(column), float(extent), aspect, angle)


def survey(
    samples: Samples,
    strength: float,
    epoch: int = 0,
    places: Iterable[int] | None = None,
) -> dict[str, list[Position]]:
    """Positions of slices of a data set that show something, by anatomy.

    Args:
        samples: The training's.
        strength: Of image augmentation; 0 looks at the data as they are.
        epoch: Whose draws to look at.
        places: Indices of the samples to look at; all if None.

    Returns:
        Under each anatomy's name, "" for scans without a label.
    """
    found: dict[str, list[Position]] = {}
    for index in range(len(samples)) if places is None else places:
        scan = samples.scans[samples.index[index][0]]
        sample = samples[epoch, index, Strengths(strength)]
        one = position(sample.foreground_HW.numpy(), scan.geometry.encoded_hw)
        if one is not None:
            found.setdefault(anatomy_of(scan) or "", []).append(one)
    return found


def histograms(
    before: Mapping[str, Sequence[Position]],
    after: Mapping[str, Sequence[Position]],
    bins: int = 20,
) -> dict[str, dict[str, Histogram]]:
    """Distributions of every quantity of a position, by anatomy.

    Args:
        before: A survey at strength 0.
        after: A survey with augmentation.
        bins: Of each histogram.
    """
    return {
        anatomy: {
            quantity: _histogram(_values(before[anatomy], i), _values(after[anatomy], i), bins)
            for i, quantity in enumerate(Position._fields)
        }
        for anatomy in before
        if anatomy in after
    }


def proposed(positions: Sequence[Position]) -> TransformSettings:
    """Limits that move no slice further than slices differ: weights are left to the user.

    What is uniform within +-L has the standard deviation L / sqrt(3), so that each limit is sqrt(3)
    times the data's own. Shear stretches what is round by about its tangent, so that its limit
    follows the spread of the aspect.

    Args:
        positions: Of one anatomy, before augmentation.
    """
    row, column, extent, aspect, angle = (_values(positions, i) for i in range(5))
    shear = min(math.degrees(math.atan(_limit(np.log(aspect)))), 44.0)
    return TransformSettings(
        max_translation=(min(_limit(row), 1.0), min(_limit(column), 1.0)),
        max_rotation=_limit_of_angle(angle),
        max_shear=(shear, shear),
        max_scaling=min(_limit(np.log(extent)), 0.5),
    )


def _values(positions: Sequence[Position], field: int) -> Array:
    values = np.array([one[field] for one in positions], dtype=np.float64)
    return values[np.isfinite(values)]


def _histogram(before: Array, after: Array, bins: int) -> Histogram:
    edges = np.histogram_bin_edges(np.concatenate([before, after]), bins)
    return Histogram(edges, np.histogram(before, edges)[0], np.histogram(after, edges)[0])


def _limit(values: Array) -> float:
    return math.sqrt(3) * float(values.std()) if len(values) else 0.0


def _limit_of_angle(degrees: Array) -> float:
    """As above, about the mean of what is the same after half a turn."""
    if not len(degrees):
        return 0.0
    twice = np.exp(2j * np.radians(degrees))
    apart = np.degrees(np.angle(twice * np.conj(twice.mean()))) / 2
    return min(math.sqrt(3 * float((apart**2).mean())), 180.0)
