"""What a recipe needs on a device, for any memory policy and any size of its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dealias.config.schema import Recipe
from dealias.data.samples import Batch
from dealias.engine.ceilings import Ceilings
from dealias.engine.compiled import refuse_compile
from dealias.engine.count import Count
from dealias.engine.counting import Counter
from dealias.engine.forecast import Forecast, forecast
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import set_precision
from dealias.engine.replay import Memory
from dealias.engine.workspace import Workspace
from dealias.kernels.build import counted_for
from dealias.models.network import Network, Trainable
from dealias.runs.beginning import freeze
from dealias.runs.rehearsal import blank_batch, infer_once, inputs_of, learn_once
from dealias.runs.size import Size
from dealias.runs.tasks import TASKS
from dealias.training.accumulation import batches_at, numbers
from dealias.training.optimiser import state_bytes

Begin = Callable[[int], Callable[[int], None]]
"""Told how many operations will be measured; gives whom to tell of each that was."""
META = torch.device("meta")
_SEEN = Memory()
CONTEXT = 512 << 20
"""Bytes that a CUDA context and its libraries take of a card; stated, not measured."""
OPTIMISER_PASSES = 20
"""Times that a step of Adam reads or writes something of the weights' size."""


@dataclass(frozen=True)
class Need:
    """What training under one policy needs; sizes in bytes.

    Attributes:
        policy: The policy.
        training: Of one batch.
        trained: Of all parameters that are trained, and so of their gradients.
        optimiser: State of the optimiser between steps.
        average: What the average of the weights keeps.
        context: Of the device's own libraries.
        seconds: Of one optimiser step of the first epoch, or None where nothing was measured.
    """

    policy: MemoryPolicy
    training: Forecast
    trained: int
    optimiser: int
    average: int
    context: int
    seconds: float | None

    @property
    def total(self) -> int:
        """Everything at the moment of the peak, or while the optimiser steps if that is more."""
        parked = "optimiser" in self.policy.offload
        step = self.training.weights + self.trained + self.optimiser
        peak = self.training.peak + (0 if parked else self.optimiser)
        return max(peak, step) + self.average + self.context

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "policy": self.policy.model_dump(mode="json", exclude={"budget"}),
            "training": {**asdict(self.training), "peak": self.training.peak},
            "trained": self.trained,
            "optimiser": self.optimiser,
            "average": self.average,
            "context": self.context,
            "total": self.total,
            "seconds": self.seconds,
        }


class Footprint:
    """Counts a recipe on `meta`; the network never sees a real tensor.

    Args:
        recipe: The recipe.
        size: Of the data.
        device: "cpu" or "cuda": where it will run.
        workspace: What was measured on that device, or None if it is not here.
        ceilings: Of that device, or None.
        frozen: Patterns of the parameters that are not trained.
    """

    def __init__(
        self, recipe: Recipe, size: Size, device: str, workspace: Workspace | None,
        ceilings: Ceilings | None, frozen: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.recipe, self.size, self.device = recipe, size, device
        self.workspace, self.ceilings, self.frozen = workspace, ceilings, frozen
        self._network: Trainable | None = None

    def sizes(self) -> dict[str, int]:
        """What decides how large the network is, as far as its settings have it.

        Nothing does where a part is frozen: its weights are of one size; nor in a classifier.
        """
        if self.frozen or self.recipe.task != "reconstruction":
            return {}
        fields = type(self.recipe.network).model_fields
        names = [name for name in ("cascades", "channels") if name in fields]
        return {name: getattr(self.recipe.network, name) for name in names}

    def resized(self, sizes: dict[str, int]) -> Footprint:
        """The same recipe with other sizes of its network."""
        network = self.recipe.network.model_copy(update=sizes)
        recipe = self.recipe.model_copy(update={"network": network})
        return Footprint(recipe, self.size, self.device, self.workspace, self.ceilings, self.frozen)

    def network(self, policy: MemoryPolicy) -> Trainable:
        """What the recipe trains, on `meta`, under a policy and without gradients.

        Raises:
            SettingsError: The policy does not suit the network, or training.compile.
        """
        if self._network is None:
            with META:
                self._network = TASKS[self.recipe.task].build(self.recipe)
            set_precision(self._network, self.recipe.training.precision)
            freeze(self._network, self.frozen)
        policy.apply(self._network)
        if self.recipe.training.compile:
            refuse_compile(self._network, policy)
        self._network.zero_grad(set_to_none=True)
        return self._network

    def training_count(self, policy: MemoryPolicy) -> Count:
        """One batch, forward and backward; the gradients of earlier ones if they are summed."""
        network = self.network(policy).train()
        batch = self._batch(network, self.recipe.training.batch_size)
        held = []
        if max(numbers(self.recipe.training.accumulation)) > 1:
            for parameter in _trained(network):
                parameter.grad = torch.empty_like(parameter)
                held.append(parameter.grad)
        counter = Counter(_held(network), inputs_of(batch), _SEEN, held)
        with counted_for(self.device), counter:
            learn_once(network, batch, self.recipe, META)
        return counter.count(one.grad for one in network.parameters() if one.grad is not None)

    def inference_count(self, policy: MemoryPolicy) -> Count:
        """One slice."""
        network = self.network(policy).eval()
        batch = self._batch(network, 1)
        counter = Counter(_held(network), inputs_of(batch), _SEEN)
        with counted_for(self.device), counter:
            infer_once(network, batch, META)
        return counter.count()

    def _batch(self, network: Trainable, count: int) -> Batch:
        routes = network.routes if isinstance(network, Network) else ()
        recipe = self.recipe
        return blank_batch(
            self.size, network.needs, count, routes, recipe.loss.area, recipe.classifier.classes[0]
        )

    def need(self, policy: MemoryPolicy, count: Count | None = None) -> Need:
        """What training under a policy needs, by what is measured so far.

        Args:
            policy: The policy.
            count: From `training_count`, if it was counted already.
        """
        found = self.forecast(count or self.training_count(policy))
        training = self.recipe.training
        trained = sum(one.nbytes for one in _trained(self.network(policy)))
        return Need(
            policy, found, trained,
            state_bytes(self.recipe.optimiser, trained),
            0 if training.average is None else training.average.copies(self.device) * found.weights,
            CONTEXT if self.device == "cuda" else 0,
            self._step_seconds(found),
        )  # fmt: skip

    def forecast(self, count: Count) -> Forecast:
        """A count with what the device's kernels hide."""
        cost = self.workspace.cost if self.workspace is not None else (lambda operation: None)
        return forecast(count, cost, self.ceilings)

    def measure(self, counts: list[Count], begin: Begin) -> None:
        """Measure each operation of some counts that was not measured yet on this device.

        Args:
            counts: Of this footprint or a resized one.
            begin: Told how many there are, if any.
        """
        if self.workspace is None:
            return
        missing = self.workspace.missing(use.operation for one in counts for use in one.uses)
        if missing:
            self.workspace.measure(missing, begin(len(missing)))

    def _step_seconds(self, found: Forecast) -> float | None:
        if found.seconds is None:
            return None
        moved = OPTIMISER_PASSES * found.weights
        update = self.ceilings.floor(0, moved) if self.ceilings is not None else 0.0
        return batches_at(self.recipe.training.accumulation, 0) * found.seconds + update


def _trained(network: Trainable) -> list[torch.nn.Parameter]:
    return [one for one in network.parameters() if one.requires_grad]


def _held(network: Trainable) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]
