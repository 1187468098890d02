"""Convolutions see channels-last tensors in every network: with others they are slow on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.models.network import NetworkEntry
from dealias.models.table import NETWORKS
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure
from shared import maps_for, routed

FORWARD = torch.ops.aten.convolution.default
FEW = 2
"""Channels of an image of one slice: to convert them costs little beside what they become."""
CELLS = 40
"""Of fully connected layers, which are spread over an image that is made of them."""


class Layouts(TorchDispatchMode):
    """Shapes of what convolutions were given with its channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[torch.Size] = []
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is FORWARD:
            self.count += 1
            (x, *_) = args
            # slices of larger ones have all channels side by side as well
            if x.stride(1) > 1 and x.shape[1] > FEW and x[0, 0].numel() > CELLS:
                self.first.append(x.shape)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("entry", list(NETWORKS), ids=lambda entry: entry.name)
def test_channels_come_last(entry: NetworkEntry) -> None:
    torch.manual_seed(0)
    network = entry.build(entry.tiny)
    y = torch.randn(1, network.needs.slices, 3, 48, 52, dtype=torch.complex64) + 2
    masks = [snu_mask(52, 4)]
    maps = maps_for(network.needs, y, masks)
    m = routed(network, measure(y, masks, (48, 52), network.needs, maps))
    with Layouts() as layouts:
        network(m)
    assert layouts.count
    assert not layouts.first
