"""GeekSeek's dHUMUS, with what it does wrong put right from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.dhumus import DHumusSettings
from dealias.models.published.dhumus import DHUMUS
from dealias.physics.sampling.mask import SamplingMask

DIFFERS = (
    "its form (magnitude, best scale alone), with masks for its shifted windows, perceptrons that "
    "see the residual sum, an unnormalised end of scale 1; its selector has no gradients"
)
LARGE = 2.0**40
"""Scale of what theirs is given: it adds 1e-6 to standard deviations."""
SMALL: dict[str, Any] = {
    "cascades": 2, "channels": 4, "heads": 2, "window": 3, "hidden": 5, "sens_channels": 2,
    "sens_pools": 2, "choice": "hard", "phase": False,
}  # fmt: skip


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
    """(B, 1, C, H, W) to (B, H, W); it finds the ACS lines by itself and pads to 384 x 384."""
    height, width = kspace.shape[-2:]
    lines = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1).expand(len(kspace), -1, -1, -1, -1)
    torch.set_default_dtype(next(network.parameters()).dtype)  # it makes tensors of the default
    try:
        image = network(torch.view_as_real(kspace[:, 0].contiguous()) * LARGE, lines) / LARGE
    finally:
        torch.set_default_dtype(torch.float32)
    top, left = (384 - height) // 2, (384 - width) // 2
    return image[:, top : top + height, left : left + width]


@cache
def apart(height: int, width: int, side: int, shift: int) -> Tensor:
    """0 where two pixels of a window were as far apart before the roll, else -inf: (K, T, T)."""
    windows = []
    for top in range(0, height, side):
        for left in range(0, width, side):
            y, x = torch.meshgrid(
                torch.arange(top, top + side), torch.arange(left, left + side), indexing="ij"
            )
            now = torch.stack([y.flatten(), x.flatten()])
            before = (now + shift) % torch.tensor([[height], [width]])
            same = [(p[:, :, None] - p[:, None, :]) for p in (now, before)]
            windows.append((same[0] == same[1]).all(0))
    return torch.zeros(()).masked_fill(~torch.stack(windows), -torch.inf)


def repair(block: nn.Module) -> None:
    """A Swin layer whose shifted windows are masked and whose perceptron sees the residual sum."""
    seen: dict[str, Any] = {}

    def remember(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen["x"], seen["size"], seen["shift"] = given[0], given[1:3], given[3]

    def masked(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        # within a single window a roll changes nothing: these layers know no positions
        if not seen["shift"] or min(seen["size"]) <= block.window_size:
            return None
        mask = apart(*seen["size"], block.window_size, seen["shift"])
        return given, {**named, "mask": mask}

    block.register_forward_pre_hook(remember)
    block.attn.register_forward_pre_hook(masked, with_kwargs=True)
    block.norm2.register_forward_pre_hook(lambda _, given: (given[0] + seen["x"],))


def maker(settings: DHumusSettings) -> Callable[[], nn.Module]:
    """Theirs, repaired."""

    def make() -> nn.Module:
        from utils.model.dHUMUS import SwinTransformerBlock, dHUMUSNet

        network = dHUMUSNet(
            num_cascades=settings.cascades, chans=settings.channels, pools=0,
            num_heads=settings.heads, window_size=settings.window,
            scale_options=list(settings.scales), pu_factors=list(settings.factors),
            rnn_hidden_size=settings.hidden, sens_chans=settings.sens_channels,
            sens_pools=settings.sens_pools, use_checkpoint=False,
        )  # fmt: skip
        for part in network.modules():
            if isinstance(part, SwinTransformerBlock):
                repair(part)
        for cascade in network.cascades:
            if "scale_1" in cascade:
                layers = cascade["scale_1"].res_block.layers
                layers[5], layers[6] = nn.Identity(), nn.Identity()
        network.ospn.requires_grad_(False)
        network.sens_net.register_forward_pre_hook(lambda _, given: (given[0], given[1].byte()))
        return network

    return make


def cases() -> Sequence[Case]:
    """Small ones of one scale and of several; and the team's own sizes."""
    team = DHumusSettings(choice="hard", phase=False)
    return [
        case("dhumus", DHumusSettings(**SMALL, scales=(1, 2, 4)), (3, 1, 3, 48, 48)),
        case("dhumus-one", DHumusSettings(**SMALL, scales=(1,)), (1, 1, 2, 48, 48)),
        case("dhumus-four", DHumusSettings(**SMALL, scales=(4,)), (2, 1, 2, 48, 48)),
        case("dhumus-eight", DHumusSettings(**{**SMALL, "window": 2}, scales=(8,)),
             (1, 1, 2, 96, 96)),
        case("dhumus-published", team, (1, 1, 4, 192, 192)),
    ]  # fmt: skip


def case(name: str, settings: DHumusSettings, shape: tuple[int, ...]) -> Case:
    """Every fourth line, and the ACS lines."""
    middle = shape[-1] // 2
    mask = {"width": shape[-1], "every": 4, "first": 1, "acs": [middle - 2, middle + 2]}
    make = maker(settings)
    return Case(name, settings, DHUMUS, make, call, shape, mask, differs=DIFFERS, kept=100)


if __name__ == "__main__":
    main("sawo0150/2025_GeekSeek", cases)
