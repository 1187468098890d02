"""The Attention U-Net and the E2E-VarNet with FC of Team HsThMRI, SNU fastMRI challenge 2022.

Their code is for one size of image and, for the Attention U-Net, one number of channels: smaller
ones are made by putting other numbers into its text.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.attention_unet import AttentionUnetSettings
from dealias.models.published.snu2022 import ATTENTION_UNET, VARNET_FC
from dealias.models.varnet_fc import VarNetFCSettings
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Needs, measure

SMALL = {"4096": "256", "2048": "24", "1024": "64", "512": "32", "256": "16", "128": "8", "64": "4",
         "32": "2"}  # fmt: skip
SMALL_MIDDLE = {"MaxPool2d(12)": "MaxPool2d(3)", "1024, 1024, 16, 8": "1024, 1024, 4, 2"}


def loaded(name: str, changes: Mapping[str, str], numbers: Mapping[str, str]) -> Any:
    """A module of theirs, its text changed, and then whole numbers in it."""
    text = (Path(sys.path[0]) / "utils" / "model" / f"{name}.py").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    pattern = r"\b(" + "|".join(numbers or ["(?!)"]) + r")\b"
    text = re.sub(pattern, lambda found: numbers[found[0]], text)
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(text, vars(module))  # noqa: S102  (it is what is to be run)
    return module


def attention_case(
    name: str,
    numbers: Mapping[str, str],
    changes: Mapping[str, str],
    settings: AttentionUnetSettings,
    shape: Sequence[int],
    side: int,
) -> Case:
    """Of an image of side x side out of k-space of a shape."""

    def make() -> Any:
        # torchvision is imported there, and not used
        text = {"import torchvision\n": "", **changes}
        return loaded("unet_attn_two_channel", text, numbers).Att_UNet(2).eval()

    def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
        m = measure(kspace, [mask] * len(kspace), (side, side), Needs(priors=("grappa",)))
        pair = torch.stack([m.zero_filled(), m.priors["grappa"]], 1)
        return m.window(network(centre_crop_or_pad(pair, (side, side))).clamp_min(0))

    width = shape[-1]
    mask = {"width": width, "every": 4, "first": 0, "acs": [width // 2 - 6, width // 2 + 6]}
    differs = "what is below 0 becomes 0; dropout off"
    return Case(
        name, settings, ATTENTION_UNET, make, call, shape, mask, (side, side), differs
    )  # fmt: skip


def varnet_case(
    name: str,
    settings: VarNetFCSettings,
    changes: Mapping[str, str],
    shape: Sequence[int],
    side: int,
) -> Case:
    """The second stage's code, whose fully connected layers are made once."""

    def make() -> Any:
        loaded("unet_ckp", changes, {})
        # torch's argmin takes bools no more
        text = {"mask[:, 0, 0, :, 0]": "mask[:, 0, 0, :, 0].int()"}
        module = loaded("varnet_ckp", text, {"384": str(side)})
        with contextlib.redirect_stdout(io.StringIO()):
            return module.VarNet(
                _sizes(settings), settings.cascades, settings.sens_channels, settings.sens_pools,
                settings.channels, settings.pools,
            ).eval()  # fmt: skip

    def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
        lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
        return network(torch.view_as_real(kspace[:, 0].contiguous()), lines)

    width = shape[-1]
    mask = {"width": width, "every": 4, "first": 0, "acs": [width // 2 - 4, width // 2 + 4]}
    differs = "the first stage's code makes its fully connected layers anew at each call"
    return Case(name, settings, VARNET_FC, make, call, shape, mask, (side, side), differs)


def _sizes(settings: VarNetFCSettings) -> dict[str, Tensor]:
    """What their second stage reads from the first stage's file: two shapes for each U-Net."""
    units = {"sens_net.norm_unet": settings.sens_channels * 2**settings.sens_pools}
    for cascade in range(settings.cascades):
        units[f"cascades.{cascade}.model"] = settings.channels * 2**settings.pools
    found = {}
    for unit, width in units.items():
        found[f"{unit}.unet.fc1.layers.0.weight"] = torch.empty(4 * width, 0)
        found[f"{unit}.unet.invConv1.weight"] = torch.empty(width, 0)
    return found


def cases() -> Sequence[Case]:
    """Small ones, thin ones of the published size of image and middle, and the published ones.

    Those of 325 million weights take up to 16 GB to be compared, and 8 GB to be tested.
    """
    sys.path.insert(1, str(Path(sys.path[0]) / "utils" / "model"))
    torch.cuda.set_device = lambda device: None  # type: ignore[assignment]  # their forward asks
    small = AttentionUnetSettings(channels=4, hidden=24, kernel=4, stride=2, dropout=0)
    thin = AttentionUnetSettings(channels=4, hidden=24, dropout=0)
    fc = VarNetFCSettings(
        cascades=2, channels=3, sens_channels=2, grid=(6, 3), dropout=0, sens_dropout=0
    )
    fc_thin = VarNetFCSettings(cascades=1, channels=2, sens_channels=1, dropout=0, sens_dropout=0)
    smaller = {"(24, 13)": "(3, 2)", "(24, 12)": "(3, 1)"}
    return [
        attention_case("attention-unet", SMALL, SMALL_MIDDLE, small, (2, 1, 3, 101, 96), 96),
        attention_case("attention-unet-384", SMALL, {}, thin, (1, 1, 3, 400, 384), 384),
        varnet_case("varnet-fc", fc, smaller, (1, 1, 3, 89, 44), 40),
        varnet_case("varnet-fc-768", fc_thin, {}, (1, 1, 2, 768, 396), 384),
        attention_case(
            "attention-unet-published", {}, {}, AttentionUnetSettings(dropout=0),
            (1, 1, 3, 400, 384), 384,
        ),
        varnet_case(
            "varnet-fc-published", VarNetFCSettings(dropout=0, sens_dropout=0), {},
            (1, 1, 2, 768, 396), 384,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main("Team-HsThMRI/2022-SNU-FastMRI-Challenge", cases)
