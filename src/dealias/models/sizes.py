"""What published configurations need, as `tools/model_sizes.py` counted it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

FILE = "sizes.json"


@dataclass(frozen=True)
class ModelSize:
    """Of one slice, with nothing recomputed.

    Attributes:
        flops: Of a reconstruction: convolutions, matrix products, Fourier transforms.
        inference: Most bytes that tensors hold while it runs; kernels' own buffers come on top.
        training: The same of a forward and backward pass, without the optimiser's state.
    """

    flops: float
    inference: int
    training: int


def model_sizes() -> tuple[str, dict[str, ModelSize]]:
    """The size of the slice, and of each configuration what it needs."""
    values = json.loads(files("dealias.models").joinpath(FILE).read_text())
    found = {name: ModelSize(**one) for name, one in values["configurations"].items()}
    return str(values["size"]), found
