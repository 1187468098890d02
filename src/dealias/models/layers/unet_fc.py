"""fastMRI's U-Net with a fully connected middle (Team HsThMRI, SNU fastMRI challenge 2022)."""

from __future__ import annotations

from torch import nn
from torch.nn.functional import max_pool2d

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.dense_middle import DenseMiddle, Pattern
from dealias.models.layers.unet import UNet


class UNetFC(UNet):
    """The U-Net with maximum pooling, and in the middle one convolution and all-to-all layers.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        channels: Channels of the first level; they double at each level.
        pools: Number of maximum poolings.
        grid: H and W of the middle at the published size.
        dropout: Probability of dropping a value in the middle.
    """

    pool = staticmethod(max_pool2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        pools: int,
        grid: tuple[int, int],
        dropout: float,
    ) -> None:
        super().__init__(in_channels, out_channels, channels, pools)
        width = channels * 2**pools
        # the parts that are pooled overlap where the grid is odd, and so do those that are spread
        kernel = (-(-grid[0] // 2), -(-grid[1] // 2))
        stride = (grid[0] // 2, grid[1] // 2)
        self.middle = nn.Sequential(
            Conv2d(width // 2, width, 3, padding=1, bias=False),
            DenseMiddle(width, (), Pattern(kernel, stride), 0.0, dropout),
        )
