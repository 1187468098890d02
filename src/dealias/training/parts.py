"""The parts of a run that hold tensors: gathered for a checkpoint, and put back from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dealias.models.network import Network
from dealias.training.averaging import Average
from dealias.training.checkpoint import TrainState


@dataclass(frozen=True)
class Parts:
    """What changes its tensors while a run goes on.

    Attributes:
        network: Trained.
        optimiser: Of its parameters.
        scaler: Of the loss.
        average: Of the weights, or None.
    """

    network: Network
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None

    def gather(self, state: TrainState) -> None:
        """Put everything into a state, the weights as copies on the CPU."""
        state.network = _cpu(self.network.state_dict())
        state.optimiser = self.optimiser.state_dict()
        state.scaler = self.scaler.state_dict()
        state.average = _cpu(self.average.network.state_dict()) if self.average else {}

    def restore(self, state: TrainState) -> None:
        """Go on as a state says."""
        self.network.load_state_dict(state.network)
        self.optimiser.load_state_dict(state.optimiser)
        self.scaler.load_state_dict(state.scaler)
        if self.average is not None and state.average:
            self.average.load(state.average)


def _cpu(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
