"""PromptMR, and what the comparisons with its descendants need as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.promptmr import PromptMRSettings, PromptSettings
from dealias.models.published.promptmr import PROMPTMR
from dealias.physics.sampling.mask import SamplingMask

MASK = {"width": 22, "every": 3, "first": 1, "acs": [8, 14]}
HEIGHT, COILS = 19, 3
SMALL: dict[str, Any] = {
    "cascades": 2, "slices": 1, "features": (6, 8, 10, 12), "prompt_channels": (2, 3, 4),
    "sens_features": (4, 5, 6, 7), "sens_prompt_channels": (2, 2, 3), "prompts": (2, 3, 2),
    "prompt_size": (4, 3, 2), "encoder": (1, 1, 1), "decoder": (1, 1, 1), "bottleneck": 1,
}  # fmt: skip
UNEVEN: dict[str, Any] = {
    **SMALL, "slices": 3, "encoder": (2, 1, 1), "decoder": (1, 0, 2), "skip": (0, 1, 2),
    "bottleneck": 2,
}  # fmt: skip


def sizes(settings: PromptSettings) -> dict[str, Any]:
    """Our sizes by their names, which are those of all that descends from PromptMR."""
    features, sens = list(settings.features), list(settings.sens_features)
    return {
        "num_cascades": settings.cascades, "num_adj_slices": settings.slices,
        "n_feat0": features[0], "feature_dim": features[1:], "prompt_dim": settings.prompt_channels,
        "sens_n_feat0": sens[0], "sens_feature_dim": sens[1:],
        "sens_prompt_dim": settings.sens_prompt_channels, "len_prompt": settings.prompts,
        "prompt_size": settings.prompt_size, "n_enc_cab": settings.encoder,
        "n_dec_cab": settings.decoder, "n_skip_cab": settings.skip,
        "n_bottleneck_cab": settings.bottleneck, "no_use_ca": settings.reduction is None,
    }  # fmt: skip


def given(kspace: Tensor, mask: SamplingMask) -> tuple[Tensor, Tensor]:
    """(B, S, C, H, W) as (B, SC, H, W, 2), and the lines as (B, 1, 1, W, 1)."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1).expand(len(kspace), -1, -1, -1, -1)
    return torch.view_as_real(kspace.flatten(1, 2).contiguous()), lines


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """The centre slices (B, H, W)."""
    return network(*given(kspace, mask), mask.acs_count)


def shape(settings: PromptSettings, batch: int = 1) -> tuple[int, ...]:
    """Of an odd height, of k-space for a network of these settings."""
    return batch, settings.slices, COILS, HEIGHT, MASK["width"]


def cases() -> Sequence[Case]:
    """One and three slices, with and without channel attention, at any number of blocks."""
    from models.promptmr import PromptMR

    def maker(settings: PromptMRSettings) -> Callable[[], nn.Module]:
        return lambda: PromptMR(**sizes(settings))

    configurations = {
        "promptmr": PromptMRSettings(**UNEVEN),
        "promptmr-no-attention": PromptMRSettings(**SMALL, reduction=None),
        "promptmr-published": PromptMRSettings(),
    }
    return [
        Case(name, one, PROMPTMR, maker(one), call, shape(one, 1 + (name == "promptmr")), MASK,
             kept=100)
        for name, one in configurations.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main("hellopipu/PromptMR", cases)
