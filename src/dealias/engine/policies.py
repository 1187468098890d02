"""Memory policies, applied to a network from outside; outputs and gradients stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from torch import nn

from dealias.engine.offload import Boundaries, park_optimiser
from dealias.engine.recompute import Chunks, keep_convolutions, recompute
from dealias.errors import SettingsError
from dealias.models.network import Block, Cascade, PerCoil, Runner, Unit, plain
from dealias.sizes import parse_bytes

Keep = Literal["keep", "keep_convolutions", "recompute"]
Parked = Literal["boundaries", "optimiser"]

_RUNNERS: dict[str, Runner] = {
    "keep": plain,
    "keep_convolutions": keep_convolutions,
    "recompute": recompute,
}
_SAID = {
    "keep": "{} kept",
    "keep_convolutions": "{} keep their convolutions (the rest is computed again)",
    "recompute": "{} recomputed (a second forward pass)",
}
_CLASHES = {
    ("keep_convolutions", "recompute"): "keep: this would compute again the convolutions that "
    "cascades=keep_convolutions keeps",
    ("keep_convolutions", "keep_convolutions"): "keep: cascades=keep_convolutions keeps these "
    "convolutions already, this would keep them twice",
    ("recompute", "keep_convolutions"): "keep or recompute: this would keep the convolutions that "
    "cascades=recompute computes again",
}
"""Ways of cascades and blocks that pay for both and gain from neither, and what to choose."""


class MemoryPolicy(BaseModel):
    """What is kept for the backward pass, what is computed again, and what waits on the CPU.

    docs/guide/memory.md has the cost and the saving of each.

    Attributes:
        cascades: "recompute" keeps each cascade's input alone, for a second forward pass;
            "keep_convolutions" keeps what convolutions give and computes only the rest again, in
            the sensitivity network as well unless `coils` is set.
        blocks: The same for each block of a denoiser; "recompute" may stand inside recomputed
            cascades, for a third forward pass.
        coils: Coils the sensitivity network sees at once, each chunk recomputed; None for all.
        offload: What is parked on the CPU while a GPU does not need it: the "boundaries" that
            recomputed cascades keep, the "optimiser"'s state between steps.
        budget: Memory there is, such as "8GiB", for whoever chooses the other fields by it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cascades: Keep = "keep"
    blocks: Keep = "keep"
    coils: int | None = Field(default=None, ge=1)
    offload: tuple[Parked, ...] = ()
    budget: str | None = None

    @field_validator("blocks")
    @classmethod
    def _blocks_fit(cls, blocks: Keep, info: ValidationInfo) -> Keep:
        reason = _CLASHES.get((info.data.get("cascades", ""), blocks))
        if reason is not None:
            raise _impossible(reason)
        return blocks

    @field_validator("coils")
    @classmethod
    def _coils_fit(cls, coils: int | None, info: ValidationInfo) -> int | None:
        if coils is not None and info.data.get("blocks") == "keep_convolutions":
            text = "null: blocks=keep_convolutions would keep what chunks of coils compute again"
            raise _impossible(text)
        return coils

    @field_validator("offload")
    @classmethod
    def _offload_fits(cls, offload: tuple[Parked, ...], info: ValidationInfo) -> tuple[Parked, ...]:
        if "boundaries" in offload and info.data.get("cascades") != "recompute":
            text = "no boundaries: cascades that keep more than them need cascades=recompute first"
            raise _impossible(text)
        return offload

    @field_validator("budget")
    @classmethod
    def _budget_is_a_size(cls, budget: str | None) -> str | None:
        if budget is not None:
            parse_bytes("memory.budget", budget)
        return budget

    def apply(self, network: nn.Module) -> None:
        """Set the runner of every unit of a network; any earlier policy is gone.

        Raises:
            SettingsError: The network has no unit of a kind that the policy speaks of.
        """
        self._refuse(network)
        cascade = Boundaries() if "boundaries" in self.offload else _RUNNERS[self.cascades]
        whole = keep_convolutions if self.cascades == "keep_convolutions" else plain
        coil: Runner = Chunks(self.coils) if self.coils else whole
        inside = {part for unit in _units(network, Cascade) for part in unit.modules()}
        for unit in _units(network, Cascade):
            unit.runner = cascade
        for unit in _units(network, Block):
            unit.runner = _RUNNERS[self.blocks]
        for unit in _units(network, PerCoil):
            # what a cascade keeps already need not be kept twice
            unit.runner = plain if coil is keep_convolutions and unit in inside else coil

    def park(self, optimiser: torch.optim.Optimizer) -> None:
        """Keep an optimiser's state on the CPU between steps, if the policy says so."""
        if "optimiser" in self.offload:
            park_optimiser(optimiser)

    def on(
        self, device: torch.device, warn: Callable[[str], None] = lambda text: None
    ) -> MemoryPolicy:
        """The policy as far as a device can follow it.

        A recipe made for a GPU runs on a CPU as well and gives the same numbers, so that parking is
        left out there with one line, and is no error.

        Args:
            device: Where the network will run.
            warn: Told what was left out.
        """
        if device.type != "cpu" or not self.offload:
            return self
        warn(f"memory.offload={','.join(self.offload)} does nothing on a CPU: all is there already")
        return self.model_copy(update={"offload": ()})

    def explain(self) -> str:
        """One line for a person."""
        parts = [_SAID[self.cascades].format("cascades"), _SAID[self.blocks].format("blocks")]
        if self.coils is None:
            parts.append("all coils at once")
        else:
            parts.append(f"{self.coils} coil{'s' if self.coils > 1 else ''} at a time (recomputed)")
        if self.offload:
            parts.append(f"{' and '.join(self.offload)} parked on the CPU (transfers)")
        return ", ".join(parts)

    def _refuse(self, network: nn.Module) -> None:
        """A setting without effect is a mistake that nobody would notice."""
        kinds: dict[str, type[Unit]] = {"cascades": Cascade, "blocks": Block, "coils": PerCoil}
        for key, kind in kinds.items():
            value, default = getattr(self, key), type(self).model_fields[key].default
            if value != default and not _units(network, kind):
                found = f"{value} for {type(network).__name__}, which has no {kind.__name__}"
                do = f"set memory.{key}={default or 'null'}"
                raise SettingsError(f"memory.{key}", found, "a network with such units", do)


def _impossible(expected: str) -> PydanticCustomError:
    return PydanticCustomError("impossible_policy", "{expected}", {"expected": expected})


def _units(network: nn.Module, kind: type[Unit]) -> list[Unit]:
    return [unit for unit in network.modules() if isinstance(unit, kind)]
