"""Lower precision by an explicit cast at the denoisers' border; the physics stays as it is."""

from __future__ import annotations

import torch
from torch import nn

from dealias.errors import SettingsError
from dealias.models.layers.normalise import NormalisedDenoiser

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def set_precision(network: nn.Module, name: str) -> None:
    """Let all denoisers of a network compute in another precision.

    Args:
        network: The network; its parameters stay float32.
        name: "fp32", "bf16" or "fp16".

    Raises:
        SettingsError: The network has no such border.
    """
    borders = [part for part in network.modules() if isinstance(part, NormalisedDenoiser)]
    if DTYPES[name] is not None and not borders:
        where = "training.precision"
        raise SettingsError(where, name, "fp32 for this network", "set training.precision=fp32")
    for border in borders:
        border.compute_dtype = DTYPES[name]
