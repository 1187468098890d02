"""MambaRecon.

It imports einops, timm and mamba_ssm; the last must be a module of that name that computes in
float64, such as the recurrence token by token.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from compare import Case, main
from torch import Tensor, nn

from dealias.models.mambarecon import MambaReconSettings
from dealias.models.published.mambarecon import MAMBARECON
from dealias.physics.coils import combine
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Needs
from shared import maps_for

MEASURED = "k-space of its data consistency is what was measured, and the input's maximum is 1"
MASK = {"width": 28, "every": 4, "first": 1, "acs": [11, 17]}


@contextlib.contextmanager
def in_float64(network: nn.Module) -> Iterator[None]:
    """Its casts to float32 keep float64, where its weights are of it."""
    if next(network.parameters()).dtype != torch.float64:
        yield
        return
    with (
        patch.object(torch.Tensor, "float", torch.Tensor.double),
        patch.object(torch, "float", torch.float64),
    ):
        yield


def measured(module: Any, y_BCHW: Tensor, lines: Tensor) -> Any:
    """Its data consistency, but with the samples that were measured."""

    def layer(self: Any, im: Tensor, mask: Any, zero_fill: Any, coil_map: Tensor) -> Tensor:
        maps = coil_map if coil_map.is_complex() else torch.view_as_complex(coil_map.contiguous())
        own = fft(torch.complex(im[:, 0], im[:, 1])[:, None] * maps)
        x = (ifft(torch.where(lines, y_BCHW, own)) * maps.conj()).sum(1)
        return torch.stack([x.real, x.imag], 1)

    return patch.object(module.DataConsistency, "data_cons_layer", layer)


def call(network: nn.Module, kspace: Tensor, mask: SamplingMask, module: Any, mend: bool) -> Tensor:
    """One slice: (1, 1, C, H, W) to (1, H, W)."""
    maps = maps_for(Needs(maps="espirit"), kspace, [mask] * len(kspace))
    assert maps is not None
    x0 = combine(ifft(kspace), maps)
    scale = x0.abs().amax((1, 2, 3), keepdim=True)
    lines = torch.tensor(mask.lines)
    channels = torch.cat([x0.real, x0.imag], 1) / scale
    theirs = lines.to(channels.dtype).expand(len(kspace), 1, *kspace.shape[-2:])
    with contextlib.ExitStack() as stack:
        stack.enter_context(in_float64(network))
        if mend:
            stack.enter_context(measured(module, kspace[:, 0] / scale, lines))
        real, imag = network(channels, theirs, maps[:, 0]).unbind(1)
    return torch.complex(real, imag).abs() * scale[:, 0]


def cases() -> Sequence[Case]:
    """One coil as published, more of them mended, and the published size; 128 is fixed there."""
    sys.path.insert(0, str(Path(sys.path[0]) / "code"))
    from networks import mamba_sys

    def make(**changes: Any) -> Callable[[], nn.Module]:
        return partial(mamba_sys.VSSM_unrolled, **{"drop_path_rate": 0.0, **changes})

    def case(name: str, ours: dict[str, Any], theirs: dict[str, Any], shape: Sequence[int],
             mend: bool = True) -> Case:  # fmt: skip
        differs = MEASURED if mend else "the input's maximum is 1"
        return Case(
            name, MambaReconSettings(**ours), MAMBARECON, make(**theirs),
            partial(call, module=mamba_sys, mend=mend), shape, MASK, differs=differs, kept=40,
        )  # fmt: skip

    return [
        case("mambarecon-one-coil", {"cascades": 2, "blocks": 1, "states": 4},
             {"patch_size": 2, "depths": [1, 1], "d_state": 4}, (1, 1, 1, 10, 28), mend=False),
        case("mambarecon", {"cascades": 2, "blocks": 2, "states": 3, "patch": 1},
             {"patch_size": 1, "depths": [2, 2], "d_state": 3}, (2, 1, 3, 7, 28)),
        case("mambarecon-patches", {"cascades": 1, "blocks": 1, "states": 2, "patch": 4},
             {"patch_size": 4, "depths": [1], "d_state": 2}, (1, 1, 4, 12, 28)),
        case("mambarecon-published", {}, {"patch_size": 2}, (1, 1, 3, 20, 28)),
    ]  # fmt: skip


if __name__ == "__main__":
    main("yilmazkorkmaz1/MambaRecon", cases)
