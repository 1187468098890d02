"""The parts of a run that hold tensors: gathered for a checkpoint, and put back from one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dealias.models.network import Trainable
from dealias.training.averaging import Average, on_cpu
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

    network: Trainable
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None

    @property
    def kept(self) -> Trainable:
        """The network to validate: with the averaged weights where there are some."""
        averaged = self.average.network if self.average is not None else None
        return averaged if averaged is not None else self.network

    def gather(self, state: TrainState) -> None:
        """Put everything into a state, the weights as copies on the CPU."""
        state.network = on_cpu(self.network.state_dict())
        state.optimiser = self.optimiser.state_dict()
        state.scaler = self.scaler.state_dict()
        state.average = self.average.weights() if self.average is not None else {}
        state.averaging = self.average.memory() if self.average is not None else {}

    def restore(self, state: TrainState) -> None:
        """Go on as a state says."""
        self.network.load_state_dict(state.network)
        self.optimiser.load_state_dict(state.optimiser)
        self.scaler.load_state_dict(state.scaler)
        if self.average is not None:
            self.average.load(state.average, state.averaging)
