"""sMaRtIfy's PromptMR+. Needs einops; run in --source PATH/FastMRI_challenge_sMaRtIfy_final."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from compare import Case, main
from promptmr import MASK, SMALL, given, shape, sizes
from promptmr_plus import switches
from torch import Tensor, nn

from dealias.models.promptmr_plus import PromptMRPlusSettings
from dealias.models.published.promptmr import SMARTIFY
from dealias.physics.sampling.mask import SamplingMask

FINAL: dict[str, Any] = {
    "cascades": 8, "slices": 1, "history": 3, "features": (8, 24, 32, 40),
    "prompt_channels": (8, 16, 24), "sens_features": (8, 12, 16, 20),
    "sens_prompt_channels": (4, 8, 12), "prompts": (3, 3, 3), "prompt_size": (16, 8, 4),
    "reduction": 2,
}  # fmt: skip


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """(B, H, W), what they crop or pad to 384 x 384 cropped to its own size."""
    image = network.eval()(*given(kspace, mask), torch.tensor([mask.acs_count]))
    h, w = kspace.shape[-2:]
    top, left = (384 - h) // 2, (384 - w) // 2
    return image[:, top : top + h, left : left + w]


def cases() -> Sequence[Case]:
    """Small, and what they ran."""
    sys.path.insert(1, str(Path(sys.path[0]) / "utils" / "model"))
    from utils.model.promptmr_plus import PromptMR

    def case(name: str, settings: PromptMRPlusSettings) -> Case:
        def make() -> nn.Module:
            return PromptMR(**sizes(settings), **switches(settings))

        return Case(name, settings, SMARTIFY, make, call, shape(settings), MASK, kept=100)

    small = PromptMRPlusSettings(**SMALL, history=2, reduction=2)
    return [case("smartify", small), case("smartify-published", PromptMRPlusSettings(**FINAL))]


if __name__ == "__main__":
    main("sMartify-fastmri/2025_final", cases)
