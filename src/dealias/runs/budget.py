"""A run within a memory budget: the policy it chooses, and whether the plan was right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dealias.config.schema import Recipe
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import allow_tf32
from dealias.errors import HealthError, SettingsError, no_memory
from dealias.models.network import Trainable
from dealias.runs.jobs import Job
from dealias.runs.plan import choose_policy
from dealias.runs.ready import network_without_values
from dealias.runs.rehearsal import rehearse
from dealias.runs.size import size_of_scans
from dealias.runs.trainings import training_of
from dealias.scan.scan import Scan
from dealias.sizes import said_memory


@dataclass(frozen=True)
class Choice:
    """The policy that a run chose by its `memory.budget`.

    Chunks of coils add gradients in another order, so a run that changed its policy would not
    continue bit for bit: it is recorded, and kept when the run goes on.

    Attributes:
        asked: The recipe's memory settings.
        policy: What was chosen.
        text: One line about it.
        planned: Bytes of one training step, or None where it was chosen earlier.
    """

    asked: MemoryPolicy
    policy: MemoryPolicy
    text: str
    planned: int | None

    def recorded(self) -> dict[str, Any]:
        """For run.json."""
        values = {"asked": self.asked, "chosen": self.policy}
        return {**{key: one.model_dump(mode="json") for key, one in values.items()},
                "text": self.text}  # fmt: skip

    def within(self, recipe: Recipe) -> Recipe:
        """The recipe with the chosen policy."""
        return recipe.model_copy(update={"memory": self.policy})


def choose(
    recipe: Recipe,
    scans: tuple[Sequence[Scan], Sequence[Scan]],
    device: torch.device,
    warn: Callable[[str], None],
    earlier: dict[str, Any] | None = None,
    frozen: tuple[str, ...] = (),
) -> Choice | None:
    """The policy for a recipe with `memory.budget`, None for any other.

    Args:
        recipe: The recipe.
        scans: For training and for validation.
        device: Where it will run.
        warn: Told of what cannot be kept.
        earlier: What an earlier start of the run recorded; it holds if nothing else is asked now.
        frozen: Patterns of the parameters that are not trained.

    Raises:
        SettingsError: No policy fits.
    """
    if recipe.memory.budget is None:
        return None
    if earlier is not None and MemoryPolicy(**earlier["asked"]) == recipe.memory:
        policy = MemoryPolicy(**earlier["chosen"])
        return Choice(recipe.memory, policy, earlier["text"], None)
    if recipe.training.threads is not None:
        torch.set_num_threads(recipe.training.threads)
    needs = network_without_values(recipe).needs
    size = size_of_scans(scans[0], scans[1], needs, recipe.masks)
    need, text = choose_policy(recipe, size, device, warn=warn, frozen=frozen)
    return Choice(recipe.memory, need.policy, text, need.training.peak)


def refuse_budgets(jobs: Sequence[Job], device: torch.device, warn: Callable[[str], None]) -> None:
    """Refuse a stage that does not fit its `memory.budget` before any of them begins.

    Args:
        jobs: All trainings of a recipe; those that are alike are looked at once.
        device: Where they will run.
        warn: Told of what cannot be kept.

    Raises:
        SettingsError: No policy fits; the message names the stage.
    """
    seen = set()
    for job in (job for job in jobs if job.recipe.memory.budget is not None):
        one = training_of(job)
        if one.counted in seen:
            continue
        seen.add(one.counted)
        allow_tf32(one.recipe.training.tf32)
        try:
            choose(job.recipe, job.scans, device, warn, frozen=one.frozen)
        except SettingsError as error:
            where, *rest = error.args
            raise SettingsError(f"stage '{job.stage}': {where}", *rest) from None


def compare(
    recipe: Recipe, network: Trainable, scans: Sequence[Scan], device: torch.device, planned: int
) -> str:
    """Run the largest batch once, and say how the plan compares; the run is as before.

    Raises:
        HealthError: It does not fit.
    """
    try:
        found = rehearse(recipe, network, scans, device)
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
        found = 0
    # outside the except, so that the exception no longer holds the tensors
    if not found:
        text = f"no memory left for the largest sample, planned {said_memory(planned)}"
        raise HealthError("memory.budget", text, "", "set it to what is free on the device")
    return f"largest sample: {said_memory(found)}, planned {said_memory(planned)}"
