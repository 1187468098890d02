"""The tiny U-Net of the SNU fastMRI challenge's own code; its E2E-VarNet has fastMRI's names."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dealias.models.challenge_unet import ChallengeUnetSettings
from dealias.models.published.source import Published


def _settings(shapes: Mapping[str, torch.Size]) -> ChallengeUnetSettings:
    return ChallengeUnetSettings(channels=shapes["first_block.layers.0.weight"][0])


UNET = Published(
    name="challenge-unet",
    project="LISTatSNU/FastMRI_challenge",
    licence="none stated",
    signature=(r"first_block\.layers\.0\.weight", r"down1\.layers\.1\.layers\.0\.weight"),
    prefixes=(),
    rules=(
        (r"\.num_batches_tracked$", None),
        (r"^first_block\.layers\.", "down."),
        (r"^down1\.layers\.1\.layers\.", "middle."),
        (r"^up1\.conv\.layers\.", "decode."),
        (r"^up1\.up\.", "up."),
        (r"^last_block\.", "last."),
        (r"^(down|middle|decode)\.0\.", r"\1.first."),
        (r"^(down|middle|decode)\.1\.", r"\1.first_norm."),
        (r"^(down|middle|decode)\.3\.", r"\1.second."),
        (r"^(down|middle|decode)\.4\.", r"\1.second_norm."),
        (r"\.running_mean$", ".mean"),
        (r"\.running_var$", ".variance"),
    ),
    settings=_settings,
)
