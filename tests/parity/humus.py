"""HUMUS-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.humus import HumusSettings
from dealias.models.published.humus import HUMUS
from dealias.physics.sampling.mask import SamplingMask

DROPS = "no stochastic depth, which draws at random"
SMALL: dict[str, Any] = {
    "cascades": 2, "features": 8, "window": 4, "depths": (2, 1), "heads": (2, 4),
    "bottleneck_depth": 2, "bottleneck_heads": 8, "dropout": 0, "sens_channels": 2, "sens_pools": 2,
}  # fmt: skip


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """(B, S, C, H, W) to (B, H, W); it finds the ACS lines by itself."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1).expand(len(kspace), -1, -1, -1, -1)
    return network(torch.view_as_real(kspace.flatten(1, 2)), lines)


def maker(settings: HumusSettings, size: tuple[int, int]) -> Callable[[], nn.Module]:
    """Theirs, for images of one size."""

    def make() -> nn.Module:
        from models.humus_net import HUMUSNet

        return HUMUSNet(
            num_cascades=settings.cascades, sens_chans=settings.sens_channels,
            sens_pools=settings.sens_pools, num_adj_slices=settings.slices, img_size=size,
            embed_dim=settings.features, depths=list(settings.depths),
            num_heads=list(settings.heads), window_size=settings.window, mlp_ratio=settings.ratio,
            bottleneck_depth=settings.bottleneck_depth,
            bottleneck_heads=settings.bottleneck_heads, drop_path_rate=0.0, use_checkpoint=False,
        )  # fmt: skip

    return make


def cases() -> Sequence[Case]:
    """Small ones: one window at the bottom; several, of an odd width; a batch of single slices."""
    three, one = HumusSettings(**SMALL), HumusSettings(**{**SMALL, "slices": 1})
    changes = {"window": 3, "ratio": 3, "depths": (3, 2), "bottleneck_depth": 1}
    odd = HumusSettings(**{**SMALL, **changes})
    published = HumusSettings(dropout=0)
    return [
        Case("humus", three, HUMUS, maker(three, (64, 64)), call, (1, 3, 2, 64, 52),
             {"width": 52, "every": 4, "first": 1, "acs": [23, 29]}, differs=DROPS, kept=100),
        Case("humus-odd", odd, HUMUS, maker(odd, (48, 48)), call, (1, 3, 2, 48, 39),
             {"width": 39, "every": 4, "first": 0, "acs": [17, 23]}, differs=DROPS, kept=100),
        Case("humus-single", one, HUMUS, maker(one, (32, 64)), call, (2, 1, 3, 32, 64),
             {"width": 64, "every": 4, "first": 3, "acs": [30, 34]}, differs=DROPS, kept=100),
        Case("humus-published", published, HUMUS, maker(published, (128, 128)), call,
             (1, 3, 2, 128, 92), {"width": 92, "every": 8, "first": 3, "acs": [42, 50]},
             differs=DROPS, kept=200),
    ]  # fmt: skip


if __name__ == "__main__":
    main("MathFLDS/HUMUS-Net", cases)
