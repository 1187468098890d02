"""The fastest memory policy that fits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from dealias.engine.ceilings import Ceilings
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.runs.footprint import Begin, Footprint, Need

CHUNK = 4
"""Coils at a time that are tried, beside all at once and the recipe's own number."""
NOMINAL = Ceilings(8.9e12, 3.2e11, 1e-5, 1e-5)
"""A GTX 1080 by its data sheet: ranks policies where nothing was measured, and tells no time."""


def search(footprint: Footprint, budget: int, begin: Begin) -> list[Need]:
    """What training needs under each policy that suits the network, the plainest first.

    Single coils, the leanest and slowest chunks, are looked at only where nothing else fits.

    Args:
        footprint: Of the recipe.
        budget: Bytes.
        begin: See `Footprint.measure`.
    """
    own = footprint.recipe.memory.coils
    needs = needs_of(footprint, candidates(footprint, (None, CHUNK, own)), begin)
    if fastest(needs, budget) is None and own != 1:
        needs += needs_of(footprint, candidates(footprint, (1,)), begin)
    return needs


def candidates(footprint: Footprint, coils: Sequence[int | None]) -> list[MemoryPolicy]:
    """All policies with one of these chunks of coils; what is parked stays the recipe's."""
    base = footprint.recipe.memory.model_dump()
    choices: dict[str, Sequence[Any]] = {
        name: get_args(field.annotation)
        for name, field in MemoryPolicy.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    fewer = [size for size in coils if size is None or size < footprint.size.coils]
    choices["coils"] = list(dict.fromkeys(fewer))
    found = []
    for values in itertools.product(*choices.values()):
        try:
            policy = MemoryPolicy(**{**base, **dict(zip(choices, values, strict=True))})
            footprint.network(policy)
        except (ValueError, SettingsError):
            continue  # a combination without sense, or not for this network
        found.append(policy)
    return found


def needs_of(footprint: Footprint, policies: list[MemoryPolicy], begin: Begin) -> list[Need]:
    """What training needs under each policy; operations not measured yet are measured first."""
    counts = [footprint.training_count(policy) for policy in policies]
    footprint.measure(counts, begin)
    pairs = zip(policies, counts, strict=True)
    return [footprint.need(policy, count) for policy, count in pairs]


def fastest(needs: list[Need], budget: int) -> Need | None:
    """The fastest that fits a budget in bytes, or None."""
    fitting = [need for need in needs if need.total <= budget]
    return min(fitting, key=_slowness, default=None)


def _slowness(need: Need) -> tuple[float, int]:
    work = need.training
    guess = NOMINAL.floor(work.flops, work.bytes) + work.calls * NOMINAL.call
    return (need.seconds if need.seconds is not None else guess), need.total
