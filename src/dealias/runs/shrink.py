"""The largest network that fits, where no policy makes the wanted one fit."""

from __future__ import annotations

import bisect
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
    """

    sizes: Sizes
    need: Need


class Shrinking:
    """Smaller networks of a recipe's kind under one policy; each is counted at most once.

    A count takes about a second, so few are made: a width is given up as soon as the fewest
    cascades that would beat the best found so far do not fit.

    Args:
        footprint: Of the recipe.
        policy: The leanest.
    """

    def __init__(self, footprint: Footprint, policy: MemoryPolicy) -> None:
        self.footprint, self.policy = footprint, policy
        self.most = footprint.sizes().get("cascades", 1)
        self._counts: dict[tuple[int, ...], Count] = {}

    def largest(self, budget: int) -> Smaller | None:
        """The network with most weights that fits, by what is measured so far.

        Args:
            budget: Bytes.

        Returns:
            None if not even the smallest fits.
        """
        widths, best = self._widths(), None
        if self._tried(widths[-1], 1).need.total > budget:
            return None
        for width in widths:
            fewest = 1 if best is None else self._first_above(best.need.training.weights, width)
            if fewest > self.most:
                break  # narrower ones have fewer weights still
            best = self._deepest(width, fewest, budget) or best
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

    def _deepest(self, width: Sizes, fewest: int, budget: int) -> Smaller | None:
        """The most cascades that fit, of `fewest` or more.

        Memory grows with cascades under any policy, and nearly in a line: a line through what
        fits and what does not hits the answer at once as a rule, and its neighbour proves it.
        """
        low = self._tried(width, fewest)
        if low.need.total > budget:
            return None
        high = self._tried(width, self.most)
        if high.need.total <= budget:
            return high
        first, last = fewest, self.most
        while last - first > 1:
            share = (budget - low.need.total) / (high.need.total - low.need.total)
            depth = min(max(first + int(share * (last - first)), first + 1), last - 1)
            one = self._tried(width, depth)
            if one.need.total <= budget:
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
        return Smaller(sizes, need)

    def _count(self, sizes: Sizes) -> Count:
        key = tuple(sizes.values())
        if key not in self._counts:
            self._counts[key] = self.footprint.resized(sizes).training_count(self.policy)
        return self._counts[key]
