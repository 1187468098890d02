"""Averages of the weights: over steps, over epochs, or of the last epochs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dealias.models.network import Trainable

Weights = dict[str, Any]
"""A network's state_dict."""


class AverageSettings(BaseModel):
    """Which average of the weights is what is validated and what the model file holds.

    Attributes:
        kind: "ema": the exponential moving average over steps; "swa": the mean of the weights at
            the ends of all epochs from `start` on (Izmailov et al. 2018, arXiv 1803.05407);
            "last": the mean of those of the last `count` epochs, which stay in the CPU's memory
            and go into each checkpoint.
        decay: Share that each step keeps of the moving average.
        start: Epoch, from 0, whose weights are the first of "swa".
        count: Epochs of "last"; fewer at the beginning.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["ema", "swa", "last"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)
    start: int = Field(default=0, ge=0)
    count: int = Field(default=5, ge=2)

    def copies(self, device: str) -> int:
        """How many times the weights stand in a device's memory besides the network's own."""
        return 1 + (self.count if self.kind == "last" and device == "cpu" else 0)


class Average:
    """An average of a network's weights.

    The network itself trains on: the average is a copy beside it.

    Args:
        settings: Which average.
        network: Whose weights.
    """

    def __init__(self, settings: AverageSettings, network: Trainable) -> None:
        self.settings = settings
        ema = get_ema_multi_avg_fn(settings.decay)  # type: ignore[no-untyped-call]
        self._model = AveragedModel(network, multi_avg_fn=ema if settings.kind == "ema" else _swa)
        self._recent: deque[Weights] = deque(maxlen=settings.count)

    @property
    def network(self) -> Trainable | None:
        """The network with the averaged weights; None while there are none."""
        return cast("Trainable", self._model.module) if self._model.n_averaged else None

    def after_step(self, network: Trainable) -> None:
        """Tell of the weights after a step that changed them."""
        if self.settings.kind == "ema":
            self._model.update_parameters(network)

    def after_epoch(self, network: Trainable, epoch: int) -> None:
        """Tell of the weights at the end of an epoch."""
        if self.settings.kind == "swa" and epoch >= self.settings.start:
            self._model.update_parameters(network)
        if self.settings.kind == "last":
            self._recent.append(on_cpu(network.state_dict()))
            trained = {name for name, _ in network.named_parameters()}
            self._set(_mean(self._recent, trained), len(self._recent))

    def weights(self) -> Weights:
        """The averaged weights, on the CPU; empty while there are none."""
        return {} if self.network is None else on_cpu(self.network.state_dict())

    def memory(self) -> dict[str, Any]:
        """What `load` needs besides them."""
        return {"count": int(self._model.n_averaged), "recent": list(self._recent)}

    def load(self, weights: Weights, memory: dict[str, Any]) -> None:
        """Go on from what `weights` and `memory` gave."""
        if weights:
            # a checkpoint of before there were other averages tells no count
            self._set(weights, memory.get("count", 1))
        self._recent.extend(memory.get("recent", []))

    def _set(self, weights: Weights, count: int) -> None:
        self._model.module.load_state_dict(weights)
        self._model.n_averaged.fill_(count)


def on_cpu(weights: Weights) -> Weights:
    """Copies of weights, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _swa(averages: Sequence[Tensor], tensors: Sequence[Tensor], count: Tensor | int) -> None:
    """Another one into means of `count`; torch's own divides in single precision."""
    for average, tensor in zip(averages, tensors, strict=True):
        average.lerp_(tensor, 1 / (int(count) + 1))


def _mean(all_weights: Sequence[Weights], trained: set[str]) -> Weights:
    """The mean of what is trained, in double precision; the newest of what is not."""
    return {
        name: _mean_of([weights[name] for weights in all_weights]) if name in trained else newest
        for name, newest in all_weights[-1].items()
    }


def _mean_of(tensors: list[Tensor]) -> Tensor:
    wide = torch.promote_types(tensors[0].dtype, torch.float64)
    total = sum((tensor.to(wide) for tensor in tensors), torch.zeros((), dtype=wide))
    return (total / len(tensors)).to(tensors[0].dtype)
