"""The largest network of a kind that fits: into memory, or into time."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import NamedTuple

from dealias.engine.count import Count
from dealias.engine.policies import MemoryPolicy
from dealias.runs.footprint import Begin, Footprint, Need

SHARES = (1, 0.75, 0.5, 0.375, 0.25, 0.125)
"""Of the channels that are tried, each with as many cascades as fit."""
Sizes = dict[str, int]


class Smaller(NamedTuple):
    """A network that fits.

    Attributes:
        sizes: Of its settings, such as {"channels": 18, "cascades": 8}.
        need: Of training it.
        cost: Of what there is a limit to.
    """

    sizes: Sizes
    need: Need
    cost: float


def memory(need: Need) -> float:
    """Bytes of a training."""
    return need.total


def time(need: Need) -> float:
    """Seconds of a training's step, which all of its time goes with."""
    return float("inf") if need.seconds is None else need.seconds


class Shrinking:
    """Smaller networks of a recipe's kind under one policy; each is counted at most once.

    A count takes about a second, so few are made: a width is given up as soon as the fewest
    cascades that would beat the best found so far do not fit.

    Args:
        footprint: Of the recipe.
        policy: The leanest.
        cost: Of what there is a limit to; it grows with the network.
    """

    def __init__(
        self, footprint: Footprint, policy: MemoryPolicy, cost: Callable[[Need], float] = memory
    ) -> None:
        self.footprint, self.policy, self.cost = footprint, policy, cost
        self.most = footprint.sizes().get("cascades", 1)
        self._counts: dict[tuple[int, ...], Count] = {}

    def surely(self, limit: float, begin: Begin) -> Smaller | None:
        """The network with most weights that fits, all of its operations measured.

        Args:
            limit: Of the cost.
            begin: See `Footprint.measure`.

        Returns:
            None if not even the smallest fits.
        """
        found = self.largest(limit)
        while found is not None:
            need = self.measured(found.sizes, begin)
            if self.cost(need) <= limit:
                return Smaller(found.sizes, need, self.cost(need))
            # margins were too small: what is measured now counts from here on
            found = self.largest(limit)
        return None

    def largest(self, limit: float) -> Smaller | None:
        """The network with most weights that fits, by what is measured so far.

        Args:
            limit: Of the cost.

        Returns:
            None if not even the smallest fits.
        """
        widths, best = self._widths(), None
        if self._tried(widths[-1], 1).cost > limit:
            return None
        for width in widths:
            fewest = 1 if best is None else self._first_above(best.need.training.weights, width)
            if fewest > self.most:
                break  # narrower ones have fewer weights still
            best = self._deepest(width, fewest, limit) or best
        return best

    def measured(self, sizes: Sizes, begin: Begin) -> Need:
        """What training one of them needs, once all its operations are measured.

        Args:
            sizes: Of the network.
            begin: See `Footprint.measure`.
        """
        resized, count = self.footprint.resized(sizes), self._count(sizes)
        resized.measure([count], begin)
        return resized.need(self.policy, count)

    def _first_above(self, weights: int, width: Sizes) -> int:
        """The fewest cascades of a width that have more weights, found by halving."""
        depths = range(1, self.most + 1)
        return 1 + bisect.bisect_right(depths, weights, key=lambda n: self._weights(width, n))

    def _deepest(self, width: Sizes, fewest: int, limit: float) -> Smaller | None:
        """The most cascades that fit, of `fewest` or more.

        Memory and time grow with cascades under any policy, and nearly in a line: a line through
        what fits and what does not hits the answer at once as a rule, and its neighbour proves it.
        """
        low = self._tried(width, fewest)
        if low.cost > limit:
            return None
        high = self._tried(width, self.most)
        if high.cost <= limit:
            return high
        first, last = fewest, self.most
        while last - first > 1:
            share = (limit - low.cost) / (high.cost - low.cost)
            depth = min(max(first + int(share * (last - first)), first + 1), last - 1)
            one = self._tried(width, depth)
            if one.cost <= limit:
                first, low = depth, one
            else:
                last, high = depth, one
        return low

    def _widths(self) -> list[Sizes]:
        full = self.footprint.sizes().get("channels")
        if full is None:
            return [{}]
        return [{"channels": n} for n in dict.fromkeys(max(1, int(one * full)) for one in SHARES)]

    def _sizes(self, width: Sizes, depth: int) -> Sizes:
        return {**width, "cascades": depth} if "cascades" in self.footprint.sizes() else width

    def _weights(self, width: Sizes, depth: int) -> int:
        network = self.footprint.resized(self._sizes(width, depth)).network(self.policy)
        return sum(one.nbytes for one in (*network.parameters(), *network.buffers()))

    def _tried(self, width: Sizes, depth: int) -> Smaller:
        sizes = self._sizes(width, depth)
        # what was measured since it was counted counts as measured
        need = self.footprint.resized(sizes).need(self.policy, self._count(sizes))
        return Smaller(sizes, need, self.cost(need))

    def _count(self, sizes: Sizes) -> Count:
        key = tuple(sizes.values())
        if key not in self._counts:
            self._counts[key] = self.footprint.resized(sizes).training_count(self.policy)
        return self._counts[key]
