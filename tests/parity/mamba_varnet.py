"""Team GeekSeek's VarNet cascades around MambaRecon.

They import fastmri, torchmetrics, and mambapy or mamba_ssm; the last must be a module of that name
that computes in float64, such as the recurrence token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from compare import Case, main
from mambarecon import MASK, MEASURED, in_float64, measured
from torch import Tensor, nn

from dealias.models.mamba_varnet import MambaVarNetSettings
from dealias.models.published.mambarecon import MAMBA_VARNET
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.mask import SamplingMask


def mended(self: Any, cur_k: Tensor, ref_k: Tensor, mask: Tensor, sens: Tensor, module: Any) -> Any:
    """Its cascade with what MambaRecon changes subtracted in place of what it gives."""
    k, y, maps = (torch.view_as_complex(one.contiguous()) for one in (cur_k, ref_k, sens))
    lines = mask[:, :, :, :, 0].bool()
    x, x0 = ((ifft(one) * maps.conj()).sum(1) for one in (k, y))
    scale = x0.abs().amax((1, 2), keepdim=True)
    with measured(module, y / scale[:, None], lines):
        out = self.model(torch.stack([x.real, x.imag], 1) / scale[:, None], mask, sens)
    change = x - torch.complex(out[:, 0], out[:, 1]) * scale
    soft = torch.where(lines, k - y, torch.zeros_like(k)) * self.dc_weight
    return torch.view_as_real(k - soft - fft(change[:, None] * maps))


def cases() -> Sequence[Case]:
    """Two cascades of few stages, and the published one; 128 is fixed there."""
    from utils.model.mambaRecon import mamba_unrolled, varnet_mamba

    block = varnet_mamba.MambaVarNetBlock

    def call(network: nn.Module, kspace: Tensor, mask: SamplingMask) -> Tensor:
        lines = torch.tensor(mask.lines).int().reshape(1, 1, 1, -1, 1)
        forward = lambda self, *given: mended(self, *given, mamba_unrolled)  # noqa: E731
        with (
            in_float64(network),
            patch.object(block, "forward", forward),
            patch.object(varnet_mamba, "center_crop", lambda image, *size: image),
        ):
            return network(torch.view_as_real(kspace[:, 0].contiguous()), lines)

    def case(name: str, ours: dict[str, Any], theirs: dict[str, Any], shape: Sequence[int]) -> Case:
        inside = {"patch_size": 2, "drop_path_rate": 0.0, **theirs}
        cascades = ours.get("cascades", 1)
        make = partial(varnet_mamba.MambaVarNet, cascades, mamba_kw=inside)
        settings = MambaVarNetSettings(**ours, dropout=0)
        differs = f"{MEASURED}; x - MambaRecon(x) is subtracted, where published MambaRecon(x) is"
        return Case(name, settings, MAMBA_VARNET, make, call, shape, MASK, differs=differs, kept=60)

    return [
        case("mamba-varnet", {"cascades": 2, "stages": 1, "blocks": 1, "states": 3},
             {"depths": [1], "d_state": 3}, (1, 1, 3, 20, 28)),
        case("mamba-varnet-published", {}, {}, (1, 1, 3, 20, 28)),
    ]  # fmt: skip


if __name__ == "__main__":
    main("sawo0150/2025_GeekSeek", cases)
