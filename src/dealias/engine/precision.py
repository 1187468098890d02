"""Precision: an explicit cast at the denoisers' border, and what GPUs may do to float32."""

from __future__ import annotations

import torch
from torch import nn

from dealias.errors import SettingsError
from dealias.models.layers.border import Border
from dealias.models.network import Network

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def set_precision(network: nn.Module, name: str) -> None:
    """Let all denoisers of a network compute in another precision.

    Args:
        network: The network; its parameters stay float32.
        name: "fp32", "bf16" or "fp16".

    Raises:
        SettingsError: The network, or a member of it, has no such border.
    """
    members = (one for one in network.modules() if isinstance(one, Network))
    if DTYPES[name] is not None and not all(map(borders, [network, *members])):
        where = "training.precision"
        raise SettingsError(where, name, "fp32 for this network", "set training.precision=fp32")
    for border in borders(network):
        border.compute_dtype = DTYPES[name]


def borders(network: nn.Module) -> list[Border]:
    """All parts of a network inside which tensors are real."""
    return [part for part in network.modules() if isinstance(part, Border)]


def allow_tf32(allowed: bool) -> None:
    """Let GPUs round the factors of float32 products to 10 bits of mantissa, or forbid it.

    Left alone, torch allows it in convolutions and not in matrix products.
    """
    # torch 2.13's own compiler reads these two, and refuses a state set by `fp32_precision` alone
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
