"""fastMRI's U-Net and E2E-VarNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.published.fastmri import UNET, VARNET
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Needs, measure

MASK = {"width": 28, "every": 4, "first": 1, "acs": [11, 17]}
UNET_MASK = {"width": 64, "every": 4, "first": 1, "acs": [28, 36]}


def call_varnet(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """One slice: (1, 1, C, H, W) to (1, H, W)."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    return network(torch.view_as_real(kspace[:, 0].contiguous()), lines, mask.acs_count)


def call_unet(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """What fastMRI's U-Net is trained with: a standardised magnitude, and back."""
    m = measure(kspace, [mask] * len(kspace), tuple(kspace.shape[-2:]), Needs())
    image = m.window(m.zero_filled())
    mean, std = image.mean((1, 2), keepdim=True), image.std((1, 2), keepdim=True)
    cleaned = network(((image - mean) / (std + 1e-11)).unsqueeze(1)).squeeze(1)
    return (cleaned * std + mean).clamp_min(0)


def cases() -> Sequence[Case]:
    """A small VarNet of an odd height; a small U-Net; both as published."""
    from fastmri.models import Unet, VarNet

    def varnet(**sizes: Any) -> Any:
        return lambda: VarNet(**{"num_cascades": 12, "pools": 4, "chans": 18, **sizes})

    def unet(channels: int, pools: int) -> Any:
        return lambda: Unet(1, 1, channels, pools)

    small = VarNetSettings(cascades=2, sens_channels=2, sens_pools=2, channels=3, pools=2)
    sizes = {"num_cascades": 2, "sens_chans": 2, "sens_pools": 2, "chans": 3, "pools": 2}
    differs = "what is below 0 becomes 0"
    return [
        Case("fastmri-varnet", small, VARNET, varnet(**sizes), call_varnet, (1, 1, 3, 33, 28),
             MASK),
        Case("fastmri-unet", UnetSettings(channels=4, pools=2), UNET, unet(4, 2), call_unet,
             (2, 1, 2, 37, 28), MASK, differs=differs),
        Case("fastmri-varnet-published", VarNetSettings(), VARNET, varnet(), call_varnet,
             (1, 1, 2, 96, 64), UNET_MASK, kept=200),
        Case("fastmri-unet-published", UnetSettings(), UNET, unet(32, 4), call_unet,
             (1, 1, 2, 96, 64), UNET_MASK, differs=differs),
    ]  # fmt: skip


if __name__ == "__main__":
    main("facebookresearch/fastMRI", cases)
