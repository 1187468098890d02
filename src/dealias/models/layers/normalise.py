"""A denoiser of complex images: real channels, normalised, padded, and all of it undone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.border import Border


class NormalisedDenoiser(Border):
    """E2E-VarNet's wrapper of a U-Net (Sriram et al. 2020), and PromptMR's.

    Channels are normalised by their mean and unbiased standard deviation, so the whole is
    equivariant to scale; zero-padded; and, after the network, unpadded and un-normalised. An image
    without variance gives its mean, zeros stay zeros.

    Args:
        network: Takes and gives (N, 2S, H, W) real; its layers compute in the precision of what
            they are given, as those of `layers.convolution` do. It may take more, and give more in
            a tuple (a history).
        groups: Of channels with a mean of their own: 2 for the real and the imaginary parts, 1 for
            all together.
        multiple: What H and W are padded to.
        newest: Whether the S images are one image and what it was earlier, newest first: each
            channel then has a mean of its own, and the network gives the newest alone (DIRCN).

    Attributes:
        compute_dtype: The network's precision; None keeps the image's. Normalisation and physics
            keep theirs.
        runner: Runs the network: plain, or compiled. It sees real tensors alone.
    """

    def __init__(
        self, network: nn.Module, groups: int = 2, multiple: int = 16, newest: bool = False
    ) -> None:
        super().__init__(network)
        self.groups, self.multiple, self.newest = groups, multiple, newest

    def forward(self, x_NSHW: Tensor, *context: Any) -> Any:
        """(N, S, H, W) complex to the same; with what else the network gives, in a tuple."""
        channels = self._channels(x_NSHW)
        scaled, mean, std = _normalise(channels, channels.shape[1] if self.newest else self.groups)
        height, width = scaled.shape[-2:]
        pads = (*_pads(width, self.multiple), *_pads(height, self.multiple))
        y, *others = self._run(F.pad(scaled, pads), *context)
        y = y[..., pads[2] : pads[2] + height, pads[0] : pads[0] + width]
        groups = 2 if self.newest else self.groups
        y = y.reshape(y.shape[0], groups, -1) * std[:, :groups] + mean[:, :groups]
        real, imag = y.reshape(y.shape[0], -1, height, width).chunk(2, dim=1)
        image_NSHW = torch.complex(real.contiguous(), imag.contiguous())
        return (image_NSHW, *others) if others else image_NSHW

    def _channels(self, x_NSHW: Tensor) -> Tensor:
        """Real parts of all S, then imaginary parts; or, of a history, image by image."""
        if self.newest:
            return torch.stack([x_NSHW.real, x_NSHW.imag], dim=2).flatten(1, 2)
        return torch.cat([x_NSHW.real, x_NSHW.imag], dim=1)


def _normalise(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    groups = x.reshape(x.shape[0], count, -1)
    mean = groups.mean(dim=2, keepdim=True)
    std = groups.std(dim=2, keepdim=True)
    safe = torch.where(std == 0, torch.ones_like(std), std)
    return ((groups - mean) / safe).reshape(x.shape), mean, std


def _pads(size: int, multiple: int) -> tuple[int, int]:
    extra = -size % multiple
    return extra // 2, extra - extra // 2
