"""What a recipe will need as a whole: each of its trainings, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.runs.footprint import Begin
from dealias.runs.plan import Plan, as_overrides, footprint_of, make_plan
from dealias.runs.schedule import DAY
from dealias.runs.shrink import Shrinking, Sizes, time
from dealias.runs.trainings import Training
from dealias.sizes import parse_bytes


@dataclass(frozen=True)
class StagePlan:
    """The trainings of one stage.

    Attributes:
        trainings: Of it: one, or one for each cell.
        plans: Of each of them.
    """

    trainings: tuple[Training, ...]
    plans: tuple[Plan, ...]

    @property
    def name(self) -> str:
        """Of the stage; "" for a recipe without stages."""
        return self.trainings[0].stage

    @property
    def largest(self) -> Plan:
        """Of the training that needs most memory."""
        return max(self.plans, key=lambda plan: plan.shown.total)

    @property
    def seconds(self) -> float | None:
        """Of all its trainings, or None where that is unknown."""
        return _sum([plan.schedule.total for plan in self.plans])


@dataclass(frozen=True)
class WholePlan:
    """A recipe's trainings, on one machine.

    Attributes:
        recipe: Its name.
        stages: In order.
    """

    recipe: str
    stages: tuple[StagePlan, ...]

    @property
    def seconds(self) -> float | None:
        """Of all trainings, validations included, or None where that is unknown."""
        return _sum([stage.seconds for stage in self.stages])

    @property
    def evaluation(self) -> float:
        """Seconds of one more reconstruction of what the last stage is validated on."""
        plans = self.stages[-1].plans
        return sum(plan.size.val_slices * (plan.schedule.slice or 0.0) for plan in plans)

    @property
    def largest(self) -> Plan:
        """Of the training that needs most memory."""
        return max((stage.largest for stage in self.stages), key=lambda plan: plan.shown.total)

    @property
    def fits(self) -> bool:
        """Whether every network trains within the budget, if there is one."""
        return all(plan.fits for stage in self.stages for plan in stage.plans)

    def to_json(self) -> dict[str, Any]:
        """For programs; sizes in bytes, times in seconds. Of a recipe without stages, its plan."""
        if not self.stages[0].name:
            return self.stages[0].plans[0].to_json()
        rows = [
            {"stage": stage.name, "cell": one.cell and str(one.cell), "assumed": one.assumed,
             **plan.to_json()}
            for stage in self.stages
            for one, plan in zip(stage.trainings, stage.plans, strict=True)
        ]  # fmt: skip
        return {"recipe": self.recipe, "trainings": rows, "seconds": self.seconds,
                "total": self.largest.shown.total, "fits": self.fits}  # fmt: skip


def make_whole_plan(
    trainings: Sequence[Training],
    device: str,
    budget: int | None = None,
    begin: Begin = lambda total: lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
) -> WholePlan:
    """Plan each of a recipe's trainings; those that are alike are counted once.

    Args:
        trainings: In order, those of a stage together.
        device: See `make_plan`.
        budget: Bytes there are; None takes each training's own `memory.budget`, if it has one.
        begin: See `make_plan`.
        warn: See `make_plan`.

    Raises:
        SettingsError: A policy does not suit its network.
    """
    known: dict[str, Plan] = {}
    plans: dict[str, list[tuple[Training, Plan]]] = {}
    for one in trainings:
        if one.counted not in known:
            own = one.recipe.memory.budget
            there = budget if budget or own is None else parse_bytes("memory.budget", own)
            known[one.counted] = make_plan(
                one.recipe, one.size, device, there, begin, warn, one.frozen
            )
        pair = one, known[one.counted].also(one.recipe, one.size)
        plans.setdefault(one.stage, []).append(pair)
    stages = [
        StagePlan(tuple(one for one, _ in pairs), tuple(plan for _, plan in pairs))
        for pairs in plans.values()
    ]
    return WholePlan(trainings[0].recipe.name, tuple(stages))


@dataclass(frozen=True)
class Within:
    """What some days are enough for.

    Attributes:
        days: There are.
        seconds: Of the whole recipe as it is.
        share: Of all epochs that they are enough for, 1 at most.
        epochs: The same in epochs, of a recipe without stages.
        wanted: Epochs that it asks for.
        smaller: Sizes of the largest network of the kind that trains all epochs in this time; None
            where the recipe's does, where none does, or where stages have different networks.
        policy: The memory policy that it was looked for under.
        smaller_seconds: What it takes.
    """

    days: float
    seconds: float
    share: float
    epochs: int | None = None
    wanted: int | None = None
    smaller: Sizes | None = None
    policy: MemoryPolicy | None = None
    smaller_seconds: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the recipe does as it is."""
        return self.share >= 1

    @property
    def overrides(self) -> list[str]:
        """What to type for the smaller network."""
        sizes = [f"network.{key}={value}" for key, value in (self.smaller or {}).items()]
        return sizes + (as_overrides(self.policy) if self.policy is not None else [])

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"days": self.days, "fits": self.fits, "share": self.share, "epochs": self.epochs,
                "smaller": self.smaller, "smaller_seconds": self.smaller_seconds,
                "overrides": self.overrides}  # fmt: skip


def within(
    whole: WholePlan,
    days: float,
    begin: Begin = lambda total: lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Within | None:
    """How much of a recipe some days are enough for, and of which network they are for all of it.

    The smaller network is looked for under the policy that the plan chose, and its time is the
    recipe's by the ratio of their steps: a slice's reconstruction is taken to get faster as they.

    Args:
        whole: The recipe's plan.
        days: There are.
        begin: See `make_plan`.
        warn: See `make_plan`.

    Returns:
        None where times are unknown.
    """
    seconds = whole.seconds
    if seconds is None:
        return None
    there = days * DAY
    share = min(1.0, there / seconds)
    first = whole.stages[0].plans[0]
    epochs = wanted = None
    if not whole.stages[0].name:
        wanted = first.schedule.epochs
        epochs = min(first.schedule.epochs_in(days) or 0, wanted)
    plain = Within(days, seconds, share, epochs, wanted)
    return plain if plain.fits else _with_smaller(plain, whole, begin, warn)


def _with_smaller(
    plain: Within, whole: WholePlan, begin: Begin, warn: Callable[[str], None]
) -> Within:
    trainings = [one for stage in whole.stages for one in stage.trainings]
    first, plan = trainings[0], whole.stages[0].plans[0]
    parts = [(one.recipe.task, one.recipe.network) for one in trainings]
    alike = all(one == parts[0] for one in parts)
    frozen = any(one.frozen for one in trainings)
    if not alike or frozen or plan.chosen is None or plan.chosen.seconds is None:
        return plain
    footprint = footprint_of(first.recipe, first.size, plan.device, warn)
    if plan.smaller is not None:
        footprint = footprint.resized(plan.smaller)
    shrinking = Shrinking(footprint, plan.chosen.policy, time)
    found = shrinking.surely(plain.share * plan.chosen.seconds, begin)
    if found is None:
        return plain
    seconds = plain.seconds * found.cost / plan.chosen.seconds
    sizes = {**footprint.sizes(), **found.sizes}
    return replace(plain, smaller=sizes, policy=plan.chosen.policy, smaller_seconds=seconds)


def refuse_without_slices(option: str, trainings: Sequence[Training]) -> None:
    """Time can be told only of a number of slices.

    Raises:
        SettingsError: There is none.
    """
    if any(one.size.slices is None for one in trainings):
        raise SettingsError(option, "no number of slices", "--data, or --slices with --shape")


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [one for one in seconds if one is not None]
    return sum(known) if len(known) == len(seconds) else None
