"""The two networks that the 2022 team HsThMRI made of DIRCN, at the one size that theirs take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.dircn import DIRCNSettings
from dealias.models.published.dircn import DIRCN_ATTENTION, DIRCN_UNET
from dealias.models.published.source import Published
from dealias.physics.sampling.mask import SamplingMask

SMALL: dict[str, Any] = {
    "cascades": 2, "channels": 2, "groups": 1, "sens_channels": 2, "dropout": 0,
}  # fmt: skip
PUBLISHED = {"channels": 18, "sens_channels": 8}
NO_DROPOUT = "no dropout, which draws at random"


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """(B, 1, C, H, W) to (B, 384, 384); it finds the ACS lines by itself."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    return network(torch.view_as_real(kspace[:, 0].contiguous()), lines)


def maker(module: str, settings: DIRCNSettings) -> Callable[[], nn.Module]:
    """Theirs."""

    def make() -> nn.Module:
        network = __import__(f"dircn.{module}", fromlist=["DIRCN"]).DIRCN(
            num_cascades=settings.cascades, n=settings.channels, sense_n=settings.sens_channels,
            dense=settings.dense, variational=settings.variational,
            interconnections=settings.interconnections,
        )  # fmt: skip
        for part in network.modules():
            if isinstance(part, nn.InstanceNorm2d):
                part.forward = partial(exactly, part)
        return network.eval()

    return make


def exactly(norm: nn.InstanceNorm2d, x: Tensor) -> Tensor:
    """What it computes, in two passes where it is compared: in float64.

    torch's own is rounded 60 times coarser on a CPU, which these networks turn into 3e-8 of a
    gradient; with this it is below 1e-11.
    """
    if x.dtype != torch.float64:
        return nn.InstanceNorm2d.forward(norm, x)
    x = x.contiguous() - x.mean((2, 3), keepdim=True)
    x = x - x.mean((2, 3), keepdim=True)
    x = x * torch.rsqrt(x.square().mean((2, 3), keepdim=True) + norm.eps)
    if norm.weight is None:
        return x
    return x * norm.weight[:, None, None] + norm.bias[:, None, None]


def importable(source: Path) -> None:
    """Their own copy of fastmri without the data sets, of which one name is imported, not used."""
    sys.path.insert(0, str(source))
    for name in ("dircn", "fastmri.data", "torchvision"):
        sys.modules[name] = ModuleType(name)
    sys.modules["dircn"].__path__ = [str(source / "dircn")]
    sys.modules["fastmri.data"].transforms = None  # type: ignore[attr-defined]


def case(name: str, width: int, height: int, first: int, acs: list[int], **changes: Any) -> Case:
    """Padded to 768x400, which is all that their linear layers take."""
    settings = DIRCNSettings(**{**SMALL, **changes})
    attention = settings.denoiser == "attention-unet-fc"
    module = "dircn_attn" if attention else "dircn_unet"
    published: Published = DIRCN_ATTENTION if attention else DIRCN_UNET
    return Case(
        name, settings, published, maker(module, settings), call, (1, 1, 2, height, width),
        {"width": width, "every": 5, "first": first, "acs": acs}, (384, 384), NO_DROPOUT, 90,
    )  # fmt: skip


def cases() -> Sequence[Case]:
    """Both, of few channels; without the switches, of odd sizes; and as published."""
    importable(Path(sys.path[0], "utils", "model"))
    off = {"dense": False, "interconnections": False, "variational": True}
    even, odd = (400, 768, 0, [187, 214]), (393, 761, 1, [183, 210])
    unet: dict[str, Any] = {"denoiser": "unet-fc"}
    gated: dict[str, Any] = {"denoiser": "attention-unet-fc"}
    return [
        case("dircn-2022-unet", *even, **unet),
        case("dircn-2022-unet-plain", *odd, **unet, **off),
        case("dircn-2022-attention", *even, **gated),
        case("dircn-2022-attention-plain", *odd, **gated, **off),
        case("dircn-2022-unet-published", *even, **unet, **PUBLISHED, cascades=6),
        case("dircn-2022-attention-published", *even, **gated, **PUBLISHED, cascades=5),
    ]


if __name__ == "__main__":
    main("Team-HsThMRI/2022-SNU-FastMRI-Challenge", cases)
