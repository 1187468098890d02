"""A denoiser of complex images: two real channels, normalised, padded, and all of it undone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD_TO = 16


class NormalisedDenoiser(nn.Module):
    """E2E-VarNet's wrapper of a U-Net (Sriram et al. 2020).

    Real and imaginary parts are each normalised by their mean and unbiased standard deviation over
    the image, so the whole is equivariant to scale; zero-padded to a multiple of 16; and, after the
    network, unpadded and un-normalised. An image without variance gives its mean, zeros stay zeros.

    Args:
        network: Takes and gives (N, 2S, H, W) real.

    Attributes:
        compute_dtype: The network's precision; None keeps the image's. The cast stands here alone:
            normalisation and physics keep theirs.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.compute_dtype: torch.dtype | None = None

    def forward(self, x_NSHW: Tensor) -> Tensor:
        """(N, S, H, W) complex to the same."""
        # channels: the real parts of all S, then the imaginary parts
        channels = torch.cat([x_NSHW.real, x_NSHW.imag], dim=1)
        scaled, mean, std = _normalise(channels)
        height, width = scaled.shape[-2:]
        pads = (*_pads(width), *_pads(height))
        y = self._run(F.pad(scaled, pads))
        y = y[..., pads[2] : pads[2] + height, pads[0] : pads[0] + width]
        y = y.reshape(*mean.shape[:2], -1) * std + mean
        real, imag = y.reshape(channels.shape).chunk(2, dim=1)
        return torch.complex(real.contiguous(), imag.contiguous())

    def _run(self, x: Tensor) -> Tensor:
        if self.compute_dtype is None or self.compute_dtype == x.dtype:
            return self.network(x)
        return _cast_call(self.network, x, self.compute_dtype)


def _normalise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    groups = x.reshape(x.shape[0], 2, -1)
    mean = groups.mean(dim=2, keepdim=True)
    std = groups.std(dim=2, keepdim=True)
    safe = torch.where(std == 0, torch.ones_like(std), std)
    return ((groups - mean) / safe).reshape(x.shape), mean, std


def _pads(size: int) -> tuple[int, int]:
    extra = ((size - 1) | (PAD_TO - 1)) + 1 - size
    return extra // 2, extra - extra // 2


def _cast_call(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Run a module in another precision; its parameters stay float32 masters."""
    cast = {name: value.to(dtype) for name, value in network.named_parameters()}
    return torch.func.functional_call(network, cast, (x.to(dtype),)).to(x.dtype)
