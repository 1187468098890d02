"""fastMRI's U-Net whose decoder also sees that of an earlier cascade (Ottesen et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.linked import Features, decoded
from dealias.models.layers.unet import ConvBlock, UNet


class LinkedUNet(UNet):
    """The U-Net of E2E-VarNet with DIRCN's interconnections.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        channels: Channels of the first level; they double at each level.
        pools: Number of average poolings, which H and W must survive.
        linked: Whether decoder levels also see what those of an earlier cascade gave.
        shown: Whether what they give goes to a later cascade.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        pools: int,
        linked: bool = False,
        shown: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, channels, pools)
        self.shown = shown
        if linked:
            widths = [channels * 2**level for level in reversed(range(pools))]
            self.decode = nn.ModuleList(ConvBlock(3 * width, width, 0.0) for width in widths)

    def forward(  # type: ignore[override]
        self, x: Tensor, earlier: Features = ()
    ) -> Tensor | tuple[Tensor, Features]:
        """(N, in, H, W) to (N, out, H, W), H and W multiples of 2^pools; features, if shown.

        Args:
            x: Real.
            earlier: Features of the cascade before, if this one is linked.
        """
        x = x.contiguous(memory_format=self.memory_format)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        features = decoded(self._level, self.middle(x), skips, earlier)
        y = self.last(features[0])
        return (y, features) if self.shown else y

    def _level(self, depth: int, x: Tensor, *others: Tensor) -> Tensor:
        up, decode = self.up[-1 - depth], self.decode[-1 - depth]  # the lowest is the first
        out: Tensor = decode(torch.cat([up(x), *others], dim=1))
        return out
