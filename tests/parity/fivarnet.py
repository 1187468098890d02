"""FI-VarNet of fastMRI's examples; run with its folder of examples as well.

    PYTHONPATH=tests python tests/parity/fivarnet.py --source PATH/TO/fastMRI [--write]

`--source` is the repository; the example's folder inside it is found from there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.fivarnet import FeatureStage, FIVarNetSettings, ImageStage
from dealias.models.published.fivarnet import FIVARNET
from dealias.physics.sampling.mask import SamplingMask

X4 = {"width": 28, "every": 4, "first": 1, "acs": [11, 17]}
X8 = {"width": 29, "every": 8, "first": 2, "acs": [12, 18]}
SHAPE = (1, 1, 3, 33, 28)
SMALL: dict[str, Any] = {"num_cascades": 2, "sens_chans": 2, "sens_pools": 2, "pools": 2}
DIFFERS = "(positions coded in float64)"
NINE = (
    "(9 + 9 cascades: of 12 + 12 the reference's own gradients move by 1.3e-10, and its image by "
    "1.4e-11, when its coils change places; ours are 2.7e-10 and 3.3e-11 off)"
)


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """One slice: (1, 1, C, H, W) to (1, H, W)."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    # it codes positions in the default precision
    torch.set_default_dtype(next(network.parameters()).dtype)
    try:
        return network(torch.view_as_real(kspace[:, 0].contiguous()), lines, mask.acs_count)
    finally:
        torch.set_default_dtype(torch.float32)


def settings(first: Any, *then: Any, **sizes: Any) -> FIVarNetSettings:
    """Of a small network: its features' U-Nets are always 32 channels wide in the reference."""
    small = {"sens_channels": 2, "sens_pools": 2, "pools": 2, "features": 3, "image_channels": 3}
    return FIVarNetSettings(stages=(first, *then), channels=32, **{**small, **sizes})


def cases() -> Sequence[Case]:
    """Both orders, two accelerations, without attention, odd and even sizes."""
    root = next(path for path in map(Path, sys.path) if (path / "fastmri_examples").is_dir())
    sys.path.insert(0, str(root / "fastmri_examples" / "feature_varnet"))
    import feature_varnet as reference

    def make(kind: str, **arguments: Any) -> Callable[[], nn.Module]:
        return lambda: getattr(reference, kind)(**{**SMALL, "chans": 3, **arguments})

    alias, plain = FeatureStage(cascades=2, attention="alias"), FeatureStage(cascades=4)
    images = ImageStage(cascades=2)
    odd = (1, 1, 3, 30, 29)
    nine = FIVarNetSettings(
        stages=(FeatureStage(cascades=9, attention="alias"), ImageStage(cascades=9)),
        features=18, image_channels=18,
    )  # fmt: skip
    return [
        Case("fivarnet", settings(alias, images), FIVARNET, make("FIVarNet", acceleration=4), call,
             SHAPE, X4, differs=DIFFERS),
        Case("fivarnet-x8", settings(alias, images), FIVARNET, make("FIVarNet", acceleration=8),
             call, odd, X8, differs=DIFFERS),
        Case("fivarnet-image-first", settings(images, alias), FIVARNET,
             make("IFVarNet", acceleration=4), call, SHAPE, X4, differs=DIFFERS),
        Case("fivarnet-plain", settings(plain, image_channels=32), FIVARNET,
             make("FeatureVarNet_sh_w", num_cascades=4), call, odd, X8),
        Case("fivarnet-published", nine, FIVARNET, lambda: reference.FIVarNet(num_cascades=9), call,
             (1, 1, 4, 64, 64), {"width": 64, "every": 4, "first": 2, "acs": [28, 36]},
             differs=f"{DIFFERS} {NINE}"),
    ]  # fmt: skip


if __name__ == "__main__":
    main("facebookresearch/fastMRI", cases)
