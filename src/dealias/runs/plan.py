"""What a recipe will need, before it runs: memory, time, and the policy to choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from dealias.config.schema import Recipe
from dealias.engine.ceilings import known_ceilings, measure_ceilings
from dealias.engine.device import usable_cuda
from dealias.engine.forecast import Forecast
from dealias.engine.policies import MemoryPolicy
from dealias.engine.workspace import Workspace
from dealias.errors import SettingsError
from dealias.runs.footprint import Begin, Footprint, Need
from dealias.runs.schedule import Schedule
from dealias.runs.search import fastest, needs_of, search
from dealias.runs.shrink import Shrinking, Smaller
from dealias.runs.size import Size
from dealias.sizes import parse_bytes, said_memory


@dataclass(frozen=True)
class Plan:
    """What a recipe will need.

    Attributes:
        recipe: Its name.
        size: Of the data.
        device: "cpu" or "cuda".
        here: Whether the device is here, so that its kernels were measured.
        budget: Bytes there are, or None.
        needs: Under each policy that was looked at, the plainest first.
        chosen: The fastest of them that fits, or the recipe's own without a budget; None if none.
        inference: Of one slice under the chosen policy, or the leanest.
        smaller: Sizes of the largest network that fits, where no policy does.
        schedule: Steps and epochs of the chosen one.
    """

    recipe: str
    size: Size
    device: str
    here: bool
    budget: int | None
    needs: tuple[Need, ...]
    chosen: Need | None
    inference: Forecast
    smaller: dict[str, int] | None
    schedule: Schedule

    def also(self, recipe: Recipe, size: Size) -> Plan:
        """The same for another training, which differs in its epochs, masks or slices alone."""
        known = self.schedule
        schedule = Schedule.of(recipe.training, size, known.step, known.slice)
        return replace(self, recipe=recipe.name, size=size, schedule=schedule)

    @property
    def fits(self) -> bool:
        """Whether the recipe's own network trains within the budget, if there is one."""
        return self.chosen is not None and self.smaller is None

    @property
    def shown(self) -> Need:
        """What is chosen, or the leanest where nothing fits."""
        return self.chosen or _leanest(self.needs)

    @property
    def overrides(self) -> list[str]:
        """What to type after the recipe's name."""
        sizes = [f"network.{key}={value}" for key, value in (self.smaller or {}).items()]
        return sizes + (as_overrides(self.chosen.policy) if self.chosen is not None else [])

    def to_json(self) -> dict[str, Any]:
        """The plan for programs; sizes in bytes, times in seconds."""
        return {
            "recipe": self.recipe,
            "size": asdict(self.size),
            "device": self.device,
            "measured": self.here,
            "budget": self.budget,
            "policies": [need.to_json() for need in self.needs],
            "chosen": None if self.chosen is None else self.chosen.to_json(),
            "overrides": self.overrides,
            "smaller": self.smaller,
            "inference": {**asdict(self.inference), "peak": self.inference.peak},
            "schedule": self.schedule.to_json(),
        }


def make_plan(
    recipe: Recipe,
    size: Size,
    device: str,
    budget: int | None = None,
    begin: Begin = lambda total: lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
    frozen: tuple[str, ...] = (),
) -> Plan:
    """Count a recipe on `meta`, add what this device's kernels hide, and choose a policy.

    The network never runs on real tensors. Operations that were never measured on this device are
    run alone, once; what they cost is kept in the user's cache folder.

    Args:
        recipe: The recipe.
        size: Of the data.
        device: "cpu" or "cuda"; it need not be here.
        budget: Bytes there are; None looks at the recipe's own policy alone.
        begin: Told how many operations are to be measured, gives whom to tell of progress.
        warn: Told of what cannot be kept.
        frozen: Patterns of the parameters that are not trained.

    Returns:
        The plan.

    Raises:
        SettingsError: The recipe's own policy does not suit its network.
    """
    footprint = footprint_of(recipe, size, device, warn, frozen)
    own = recipe.memory.on(torch.device(device))
    if budget is None:
        needs = needs_of(footprint, [own], begin)
    else:
        needs = search(footprint, budget, begin)
    chosen = needs[0] if budget is None else fastest(needs, budget)
    smaller = None
    if chosen is None and budget is not None:
        smaller = _smaller(footprint, needs, budget, begin)
    shown = smaller.need if smaller else chosen or _leanest(needs)
    used = footprint.resized(smaller.sizes if smaller else {})
    count = used.inference_count(shown.policy)
    used.measure([count], begin)
    inference = used.forecast(count)
    schedule = Schedule.of(recipe.training, size, shown.seconds, inference.seconds)
    return Plan(
        recipe.name, size, device, footprint.workspace is not None, budget, tuple(needs),
        smaller.need if smaller else chosen, inference, smaller.sizes if smaller else None,
        schedule,
    )  # fmt: skip


def choose_policy(
    recipe: Recipe,
    size: Size,
    device: torch.device,
    begin: Begin = lambda total: lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
    frozen: tuple[str, ...] = (),
) -> tuple[Need, str]:
    """The fastest policy that fits `memory.budget`.

    Args:
        recipe: With a budget.
        size: Of the data.
        device: Where it will run.
        begin: See `make_plan`.
        warn: See `make_plan`.
        frozen: See `make_plan`.

    Returns:
        What training needs under it, and one line for a person.

    Raises:
        SettingsError: None fits; the message tells the largest network that does.
    """
    budget = parse_bytes("memory.budget", recipe.memory.budget or "")
    plan = make_plan(recipe, size, device.type, budget, begin, warn, frozen)
    if plan.chosen is None or plan.smaller is not None:
        least = min(need.total for need in plan.needs)
        found = f"{recipe.memory.budget}, and {said_memory(least)} at the leanest policy"
        do = f"set {' '.join(plan.overrides)}" if plan.smaller else "choose a smaller network"
        raise SettingsError("memory.budget", found, "more memory", do)
    said = " ".join(as_overrides(plan.chosen.policy))
    text = f"memory.budget={recipe.memory.budget}: chose {said}, {said_memory(plan.chosen.total)}"
    return plan.chosen, text


def footprint_of(
    recipe: Recipe, size: Size, device: str, warn: Callable[[str], None],
    frozen: tuple[str, ...] = (),
) -> Footprint:  # fmt: skip
    """Counts the recipe, with what is measured on the device if it is here."""
    if recipe.training.compile:
        warn("the plan is of the network uncompiled; compiled it may take a little more memory")
    workspace, ceilings = None, None
    if device == "cpu" or usable_cuda(0):
        here = torch.device(device)
        workspace = Workspace(here, warn)
        ceilings = known_ceilings(here) or measure_ceilings(here, warn)
    return Footprint(recipe, size, device, workspace, ceilings, frozen)


def as_overrides(policy: MemoryPolicy) -> list[str]:
    """A policy as key=value; None is spelt null."""
    values = policy.model_dump(exclude={"budget", "offload"})
    said = {key: "null" if value is None else value for key, value in values.items()}
    parked = [f"memory.offload=[{','.join(policy.offload)}]"] if policy.offload else []
    return [f"memory.{key}={value}" for key, value in said.items()] + parked


def _leanest(needs: Sequence[Need]) -> Need:
    return min(needs, key=lambda need: need.total)


def _smaller(
    footprint: Footprint, needs: Sequence[Need], budget: int, begin: Begin
) -> Smaller | None:
    """The largest network that fits, found by stated margins and then measured."""
    found = Shrinking(footprint, _leanest(needs).policy).surely(budget, begin)
    return found and found._replace(sizes={**footprint.sizes(), **found.sizes})
