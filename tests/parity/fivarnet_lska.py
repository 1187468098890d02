"""GeekSeek's feature cascades with large separable kernel attention.

    PYTHONPATH=tests python tests/parity/fivarnet_lska.py --source PATH/TO/2025_GeekSeek [--write]

The gate differs between their branches: cases named "tanh" are of final_train, which they scored
with, cases named "none" of LSKA; choose with --only. A third, main, applies one convolution twice
by mistake. Needs torchvision and torchmetrics only to be imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.fivarnet import FeatureStage, FIVarNetSettings, ImageStage
from dealias.models.published.fivarnet import LSKA
from dealias.physics.sampling.mask import SamplingMask

MASK = {"width": 28, "every": 4, "first": 1, "acs": [11, 17]}
SMALL: dict[str, Any] = {
    "feature_chans": 3, "unet_chans": 4, "chans": 3, "pools": 2, "sens_chans": 2, "sens_pools": 2,
    "crop_size": None,
}  # fmt: skip
LARGE = FeatureStage(cascades=2, large_kernels=True)
STAGES = (LARGE, FeatureStage(cascades=2), ImageStage(cascades=1))


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """One slice: (1, 1, C, H, W) to (1, H, W)."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    return network(torch.view_as_real(kspace[:, 0].contiguous()), lines, mask.acs_count)


def settings(**changes: Any) -> FIVarNetSettings:
    """Of a small network."""
    return FIVarNetSettings(
        stages=STAGES, features=3, channels=4, image_channels=3, pools=2, sens_channels=2,
        sens_pools=2, **changes,
    )  # fmt: skip


def cases() -> Sequence[Case]:
    """Both gates, two kernels, and the configuration that was scored."""
    from utils.model.feature_varnet import flexible_varnet as reference

    whole = reference.LKSADeepUnet2d
    reference.center_crop = lambda image, height, width: image  # of 384 x 384

    def make(kernel: int, counts: list[int], **arguments: Any) -> Callable[[], nn.Module]:
        def made() -> nn.Module:
            reference.LKSADeepUnet2d = partial(whole, k_size=kernel)
            return reference.FlexibleCascadeVarNet(counts, "dlka", **arguments)

        return made

    shape = (1, 1, 3, 34, 28)
    published = FIVarNetSettings(
        stages=(
            FeatureStage(cascades=5, large_kernels=True),
            FeatureStage(cascades=10),
            ImageStage(cascades=3),
        ),
        features=12, channels=24, image_channels=18,
    )  # fmt: skip
    scored = {"feature_chans": 12, "unet_chans": 24, "sens_chans": 8, "crop_size": None}
    return [
        Case("fivarnet-lska-tanh", settings(), LSKA, make(7, [2, 2, 1], **SMALL), call, shape,
             MASK),
        Case("fivarnet-lska-tanh-23", settings(kernel=23), LSKA, make(23, [2, 2, 1], **SMALL),
             call, shape, MASK),
        Case("fivarnet-lska-none", settings(gate="none"), LSKA, make(7, [2, 2, 1], **SMALL), call,
             shape, MASK),
        Case("fivarnet-lska-tanh-published", published, LSKA, make(7, [5, 10, 3], **scored), call,
             (1, 1, 2, 96, 96), {"width": 96, "every": 4, "first": 2, "acs": [44, 52]}),
    ]  # fmt: skip


if __name__ == "__main__":
    main("sawo0150/2025_GeekSeek", cases)
