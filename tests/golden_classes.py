"""What other projects' classifiers printed: scores, gradients, running means, in both modes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import golden

FOLDER = golden.FOLDER / "classifiers"
MODES = ("eval", "train")
State = dict[str, Tensor]


def weights(shapes: Mapping[str, Sequence[int]]) -> State:
    """Of a state dict, float64; what counts batches is 0."""
    drawn = golden.weights(shapes)
    return {
        name: torch.zeros((), dtype=torch.long) if name.endswith("num_batches_tracked") else one
        for name, one in drawn.items()
    }


def single(shapes: Mapping[str, Sequence[int]]) -> State:
    """The same, rounded to single precision as files have it."""
    return {name: one.to(torch.float32).to(one.dtype) for name, one in weights(shapes).items()}


def images(shape: Sequence[int]) -> Tensor:
    """(N, C, H, W) float64, positive as magnitudes are."""
    return torch.from_numpy(np.random.default_rng(7).rayleigh(size=shape))


def run(network: nn.Module, shape: Sequence[int], mode: str) -> tuple[Tensor, State, State]:
    """Scores, gradients of their product with random ones, and the state after."""
    network.train(mode == "train")
    scores = network(images(shape))
    return scores.detach(), golden.gradients(network, scores), network.state_dict()


def read(name: str) -> dict[str, Any]:
    """A golden file."""
    return json.loads((FOLDER / f"{name}.json").read_text())
