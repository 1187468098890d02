"""U-Net whose lowest level is one linear layer (Team HsThMRI, SNU FastMRI Challenge 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.affine_norm import AffineNorm
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.layers.dense_middle import DenseMiddle, Pattern
from dealias.models.layers.linked import Features, decoded
from dealias.models.layers.norm import RELU
from dealias.models.network import Block


class DoubleConvolution(Block):
    """Twice: 3x3 convolution, instance normalisation, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        affine: Whether normalisations and convolutions have weights and biases of their own.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool) -> None:
        super().__init__()
        self.first = Conv2d(in_channels, out_channels, 3, padding=1, bias=affine)
        self.first_norm = AffineNorm(out_channels, affine)
        self.second = Conv2d(out_channels, out_channels, 3, padding=1, bias=affine)
        self.second_norm = AffineNorm(out_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        x = self.first_norm(self.first(x), RELU)
        return self.second_norm(self.second(x), RELU)


class BottomedUNet(nn.Module):
    """Encoder with maximum pooling, one linear layer below that sees all of the image, a decoder.

    Subclasses say what is theirs, and what a level of the decoder is.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        channels: Channels of the first level; they double at each level.
        dropout: Probability of dropping what the linear layer gives.
        linked: Whether decoder levels also see what those of an earlier cascade gave.
        shown: Whether what they give goes to a later cascade.

    Attributes:
        levels: Number of poolings.
        affine: Whether normalisations and convolutions have weights and biases of their own.
        pattern: Of the linear layer.
        slope: Of its LeakyReLU.
        memory_format: Of everything inside, as in `layers.unet.UNet`.
    """

    levels: int
    affine: bool
    pattern: Pattern
    slope: float

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        dropout: float,
        linked: bool = False,
        shown: bool = False,
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(self.levels + 1)]
        ins = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            DoubleConvolution(a, b, self.affine) for a, b in zip(ins, widths, strict=True)
        )
        self.bottom = DenseMiddle(widths[-1], (), self.pattern, self.slope, dropout)
        self.add_decoder(widths[:-1], linked)
        self.last = Conv2d(channels, out_channels, 1, bias=self.affine)
        self.shown = shown
        self.memory_format = torch.channels_last

    def add_decoder(self, widths: list[int], linked: bool) -> None:
        """Make the layers of all levels; widths are those of skips, full resolution first."""
        raise NotImplementedError

    def forward(self, x: Tensor, earlier: Features = ()) -> Tensor | tuple[Tensor, Features]:
        """(N, in, H, W) to (N, out, H, W); and its features, if shown.

        Args:
            x: Real; H and W survive the poolings.
            earlier: Features of the cascade before, if this one is linked.
        """
        first, *deeper = self.down
        skips = [first(x.contiguous(memory_format=self.memory_format))]
        for block in deeper:
            skips.append(block(F.max_pool2d(skips[-1], 2)))
        features = decoded(self.level, self.bottom(skips.pop()), skips, earlier)
        y = self.last(features[0])
        return (y, features) if self.shown else y

    def level(self, depth: int, x: Tensor, skip: Tensor, *earlier: Tensor) -> Tensor:
        """What a decoder level gives; depth 0 is full resolution."""
        raise NotImplementedError


class PooledUNet(BottomedUNet):
    """Plain skips; H and W are multiples of 16."""

    levels, affine, slope = 4, True, 0.0
    pattern = Pattern((12, 5), (12, 5), (4, 5))
    """Cells become 12x5 pixels each of the middle, the image is 768x400."""

    def add_decoder(self, widths: list[int], linked: bool) -> None:
        """Transposed convolutions, and two convolutions at each level."""
        self.up = nn.ModuleList(ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths)
        self.decode = nn.ModuleList(
            DoubleConvolution((3 if linked else 2) * width, width, self.affine) for width in widths
        )

    def level(self, depth: int, x: Tensor, skip: Tensor, *earlier: Tensor) -> Tensor:
        """What a decoder level gives; depth 0 is full resolution."""
        out: Tensor = self.decode[depth](torch.cat([skip, *earlier, self.up[depth](x)], dim=1))
        return out
