"""One optimiser step: some batches, their gradients, and nothing that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dealias.data.samples import Batch
from dealias.errors import HealthError, no_memory
from dealias.models.network import Network
from dealias.training.losses import LossSettings, loss


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        losses: Of each slice, in order.
        applied: Whether the weights changed.
        overflow: Whether a loss scaler met an overflow, which is its normal way of finding a scale.
        names: Scan and slice of each loss.
    """

    losses: tuple[float, ...]
    applied: bool
    overflow: bool
    names: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Stepper:
    """Runs optimiser steps.

    Attributes:
        network: In training mode, on the device.
        optimiser: Of its parameters.
        scaler: Loss scaler; disabled unless the precision is fp16.
        loss: Which loss.
        clip_norm: Largest L2 norm of the gradient, or None.
        device: Where.
    """

    network: Network
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    loss: LossSettings
    clip_norm: float | None
    device: torch.device

    def __call__(self, batches: Sequence[Batch]) -> StepResult:
        """Accumulate the batches' gradients as one large batch would, and step once.

        Every slice has the same weight, so a last group of fewer batches is no exception.

        Args:
            batches: One or more.

        Returns:
            What was done; the weights are untouched if a loss or gradient was not finite.

        Raises:
            HealthError: No memory left.
        """
        try:
            return self._step(batches)
        except (MemoryError, RuntimeError) as error:
            if not no_memory(error):
                raise
            largest = max(batches, key=lambda batch: batch.kspace_BSCHW.numel())
            report = _out_of_memory(largest)
        # outside the except, so that the exception no longer holds the tensors
        self.optimiser.zero_grad(set_to_none=True)
        raise report

    def _step(self, batches: Sequence[Batch]) -> StepResult:
        total = sum(len(batch.names) for batch in batches)
        names = tuple(name for batch in batches for name in batch.names)
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[float] = []
        for batch in batches:
            losses += self._backward(batch, total)
        self.scaler.unscale_(self.optimiser)
        norm = self._gradient_norm()
        finite = all(map(_finite, losses))
        if finite and _finite(norm):
            self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        overflow = finite and not _finite(norm) and self.scaler.is_enabled()
        return StepResult(tuple(losses), finite and _finite(norm), overflow, names)

    def _backward(self, batch: Batch, total: int) -> list[float]:
        loss_B = batch_loss(self.network, batch, self.loss, self.device)
        if bool(torch.isfinite(loss_B).all()):
            self.scaler.scale(loss_B.sum() / total).backward()  # type: ignore[no-untyped-call]
        return [float(value) for value in loss_B.detach()]

    def _gradient_norm(self) -> float:
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        largest = self.clip_norm if self.clip_norm is not None else float("inf")
        return float(torch.nn.utils.clip_grad_norm_(parameters, largest))


def batch_loss(
    network: Network, batch: Batch, settings: LossSettings, device: torch.device
) -> Tensor:
    """The loss of each item of a batch, (B,), from k-space on; on `meta` as well.

    Args:
        network: In training mode, on the device.
        batch: Anywhere.
        settings: Which loss.
        device: Where.
    """
    measurement = batch.measurement(network.needs, device)
    image_BHW = measurement.window(network(measurement).image_BHW)
    return loss(
        settings,
        image_BHW,
        batch.target_BHW.to(device),
        batch.foreground_BHW.to(device),
        batch.range_B.to(device),
    )


def _finite(value: float) -> bool:
    return value - value == 0


def _out_of_memory(batch: Batch) -> HealthError:
    name, z = batch.names[0]
    shape = tuple(batch.kspace_BSCHW.shape)
    do = (
        "set training.batch_size=1, memory.cascades=recompute or memory.coils=1, or choose a "
        "smaller network"
    )
    found = f"no memory left for (B, S, C, H, W) = {shape}"
    return HealthError(f"{name}, slice {z}", found, "", do)
