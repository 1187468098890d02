"""fastMRI's E2E-VarNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.published.fastmri import VARNET
from dealias.models.varnet import VarNetSettings
from dealias.physics.sampling.mask import SamplingMask

MASK = {"width": 28, "every": 4, "first": 1, "acs": [11, 17]}


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """One slice: (1, 1, C, H, W) to (1, H, W)."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    return network(torch.view_as_real(kspace[:, 0].contiguous()), lines, mask.acs_count)


def cases() -> Sequence[Case]:
    """Small, of an odd height."""
    from fastmri.models import VarNet

    def make() -> Any:
        return VarNet(num_cascades=2, sens_chans=2, sens_pools=2, chans=3, pools=2)

    settings = VarNetSettings(cascades=2, sens_channels=2, sens_pools=2, channels=3, pools=2)
    return [Case("fastmri-varnet", settings, VARNET, make, call, (1, 1, 3, 33, 28), MASK)]


if __name__ == "__main__":
    main("facebookresearch/fastMRI", cases)
