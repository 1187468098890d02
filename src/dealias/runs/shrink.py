"""The largest network that fits, where no policy makes the wanted one fit."""

from __future__ import annotations

from typing import NamedTuple

from dealias.engine.policies import MemoryPolicy
from dealias.runs.footprint import Footprint, Need

SHARES = (1, 0.75, 0.5, 0.375, 0.25, 0.125)
"""Of the channels that are tried, each with as many cascades as fit."""


class Smaller(NamedTuple):
    """A network that fits.

    Attributes:
        sizes: Of its settings, such as {"channels": 18, "cascades": 8}.
        need: Of training it.
    """

    sizes: dict[str, int]
    need: Need


def largest_network(footprint: Footprint, policy: MemoryPolicy, budget: int) -> Smaller | None:
    """The network of the recipe's kind with most weights that fits under a policy.

    Args:
        footprint: Of the recipe.
        policy: The leanest.
        budget: Bytes.

    Returns:
        None if not even the smallest fits.
    """
    best: Smaller | None = None
    if _tried(footprint, _least(footprint), policy).need.total > budget:
        return None
    most = footprint.sizes().get("cascades", 1)
    for sizes in _widths(footprint):
        whole = _tried(footprint, sizes, policy)
        if best is not None and whole.need.training.weights <= best.need.training.weights:
            break  # narrower ones have fewer weights still
        fits = whole.need.total <= budget
        found = whole if fits else _fewer_cascades(footprint, sizes, most, policy, budget)
        if found is not None and (best is None or _weights(found) > _weights(best)):
            best = found
    return best


def _least(footprint: Footprint) -> dict[str, int]:
    sizes = _widths(footprint)[-1]
    return {**sizes, "cascades": 1} if "cascades" in footprint.sizes() else sizes


def _weights(one: Smaller) -> int:
    return one.need.training.weights


def _widths(footprint: Footprint) -> list[dict[str, int]]:
    full = footprint.sizes().get("channels")
    if full is None:
        return [{}]
    return [{"channels": n} for n in dict.fromkeys(max(1, int(one * full)) for one in SHARES)]


def _tried(footprint: Footprint, sizes: dict[str, int], policy: MemoryPolicy) -> Smaller:
    return Smaller(sizes, footprint.resized(sizes).need(policy))


def _fewer_cascades(
    footprint: Footprint, sizes: dict[str, int], most: int, policy: MemoryPolicy, budget: int
) -> Smaller | None:
    """By halving: memory grows with cascades under any policy."""
    found, low, high = None, 1, most - 1
    while low <= high:
        middle = (low + high + 1) // 2
        one = _tried(footprint, {**sizes, "cascades": middle}, policy)
        if one.need.total <= budget:
            found, low = one, middle + 1
        else:
            high = middle - 1
    return found
