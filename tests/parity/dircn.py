"""DIRCN."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.dircn import DIRCNSettings
from dealias.models.published.dircn import DIRCN
from dealias.physics.sampling.mask import SamplingMask

MASK = {"width": 28, "every": 4, "first": 0, "acs": [11, 17]}
"""No other line touches the ACS lines, which it would take for one of them."""
SMALL: dict[str, Any] = {"cascades": 2, "channels": 4, "groups": 2, "sens_channels": 3}


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """(B, 1, C, H, W) to (B, H, W); it finds the ACS lines by itself."""
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    return network(torch.view_as_real(kspace[:, 0].contiguous()), lines)[:, 0]


def maker(settings: DIRCNSettings) -> Callable[[], nn.Module]:
    """Theirs."""

    def make() -> nn.Module:
        from dircn.models.dircn.dircn import DIRCN  # type: ignore[import-not-found]

        return DIRCN(
            num_cascades=settings.cascades, n=settings.channels, sense_n=settings.sens_channels,
            groups=settings.groups, sense_groups=settings.sens_groups,
            ratio=1 / settings.reduction, dense=settings.dense, variational=settings.variational,
            interconnections=settings.interconnections,
        )  # fmt: skip

    return make


def importable(source: str) -> None:
    """Packages without what their __init__ would import, and the name that one of them misses."""
    folders = {"dircn": "dircn", "dircn.models": "dircn/models", "fMRI": "dircn"}
    for name, folder in folders.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(Path(source, folder))]


def case(name: str, shape: Sequence[int] = (1, 1, 3, 33, 28), **changes: Any) -> Case:
    """One configuration of the small size."""
    settings = DIRCNSettings(**{**SMALL, **changes})
    return Case(name, settings, DIRCN, maker(settings), call, shape, MASK, kept=90)


def cases() -> Sequence[Case]:
    """Each switch alone; all of them, of an odd height; the size of the paper."""
    importable(sys.path[0])
    off: dict[str, Any] = {"dense": False, "interconnections": False}
    paper = DIRCNSettings(cascades=12, channels=28)
    return [
        case("dircn", cascades=4, sens_groups=3),
        case("dircn-plain", (2, 1, 2, 32, 28), **off, reduction=3),
        case("dircn-dense", **off | {"dense": True}, cascades=3),
        case("dircn-interconnected", **off | {"interconnections": True}, cascades=3),
        case("dircn-variational", variational=True, groups=4),
        Case("dircn-published", paper, DIRCN, maker(paper), call, (1, 1, 3, 48, 28), MASK,
             kept=300),
    ]  # fmt: skip


if __name__ == "__main__":
    main("JonOttesen/DIRCN", cases)
