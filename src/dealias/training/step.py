"""One optimiser step: some batches, their gradients, and nothing that is not finite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from dealias.data.samples import Batch
from dealias.engine.ranks import ALONE, Ranks
from dealias.errors import HealthError, no_memory
from dealias.models.network import Trainable
from dealias.training.dealing import Name, Share
from dealias.training.running import RunningMeans
from dealias.training.task import Task


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        losses: Of each slice of all ranks, in order.
        applied: Whether the weights changed.
        overflow: Whether a loss scaler met an overflow, which is its normal way of finding a scale.
        names: Scan and slice of each loss.
    """

    losses: tuple[float, ...]
    applied: bool
    overflow: bool
    names: tuple[Name, ...]


@dataclass(frozen=True)
class Stepper:
    """Runs optimiser steps.

    Attributes:
        network: In training mode, on the device.
        optimiser: Of its parameters.
        scaler: Loss scaler; disabled unless the precision is fp16.
        task: Gives the loss.
        clip_norm: Largest L2 norm of the gradient, or None.
        device: Where.
        ranks: Which share each step.
    """

    network: Trainable
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    task: Task
    clip_norm: float | None
    device: torch.device
    ranks: Ranks = ALONE

    def __call__(self, share: Share, epoch: int = 0) -> StepResult:
        """Accumulate all batches' gradients as one large batch would, and step once.

        Every slice has the same weight, so a last step of fewer batches, or of more on one rank
        than on another, is no exception.

        Args:
            share: This rank's part of the step.
            epoch: Of the run; the loss may change with it.

        Returns:
            What was done, the same on all ranks; the weights are untouched if a loss or gradient
            of any was not finite.

        Raises:
            HealthError: No memory left.
            Broken: A rank has left; the weights are untouched.
        """
        try:
            return self._step(share, epoch)
        except (MemoryError, RuntimeError) as error:
            if not no_memory(error) or not share.batches:
                raise
            largest = max(share.batches, key=lambda batch: batch.kspace_BSCHW.numel())
            report = _out_of_memory(largest)
        # outside the except, so that the exception no longer holds the tensors
        self.optimiser.zero_grad(set_to_none=True)
        raise report

    @cached_property
    def running(self) -> RunningMeans:
        """Of the network's batch norms."""
        return RunningMeans(self.network)

    def _step(self, share: Share, epoch: int) -> StepResult:
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[float] = []
        with self.running.undone() as keep:
            for seed, batch in zip(share.seeds, share.batches, strict=True):
                torch.manual_seed(seed)
                losses += self._backward(batch, len(share.names), epoch)
            everyones = self._everyones(losses, share)
            finite = all(map(_finite, everyones))
            if finite:
                self.running.join(len(share.batches), self.ranks)
            applied = finite and self._apply()
            keep(applied)
        self.optimiser.zero_grad(set_to_none=True)
        overflow = finite and not applied and self.scaler.is_enabled()
        return StepResult(everyones, applied, overflow, share.names)

    def _backward(self, batch: Batch, total: int, epoch: int) -> list[float]:
        loss_B = self.task.loss(self.network, batch, self.device, epoch)
        if bool(torch.isfinite(loss_B).all()):
            self.scaler.scale(loss_B.sum() / total).backward()  # type: ignore[no-untyped-call]
        return [float(value) for value in loss_B.detach()]

    def _everyones(self, losses: list[float], share: Share) -> tuple[float, ...]:
        """The losses of all ranks in order; where they are finite, the gradients are summed."""
        parameters = list(self.network.parameters())
        count = len(share.names)
        told = torch.zeros(count + len(parameters), dtype=torch.float64)
        told[share.first : share.first + len(losses)] = torch.tensor(losses, dtype=torch.float64)
        told[count:] = torch.tensor([parameter.grad is not None for parameter in parameters])
        self.ranks.add(told)
        users = told[count:].tolist()
        if bool(told[:count].isfinite().all()):
            self._sum_gradients([p for p, n in zip(parameters, users, strict=True) if n])
        return tuple(told[:count].tolist())

    def _sum_gradients(self, used: list[torch.nn.Parameter]) -> None:
        """A parameter that no rank uses keeps no gradient: the optimiser is to pass it over."""
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.ranks.add_each([p.grad for p in used if p.grad is not None])

    def _apply(self) -> bool:
        """Step once if the gradient is finite; gives whether it was."""
        self.scaler.unscale_(self.optimiser)
        finite = _finite(self._gradient_norm())
        if finite:
            self.scaler.step(self.optimiser)
        self.scaler.update()
        return finite

    def _gradient_norm(self) -> float:
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        largest = self.clip_norm if self.clip_norm is not None else float("inf")
        return float(torch.nn.utils.clip_grad_norm_(parameters, largest))


def _finite(value: float) -> bool:
    return value - value == 0


def _out_of_memory(batch: Batch) -> HealthError:
    name, z = batch.names[0]
    shape = tuple(batch.kspace_BSCHW.shape)
    do = "`dealias plan RECIPE --memory SIZE` says what fits; memory.budget=SIZE chooses it"
    found = f"no memory left for (B, S, C, H, W) = {shape}"
    return HealthError(f"{name}, slice {z}", found, "", do)
