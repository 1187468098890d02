"""What MambaRecon does between data consistencies: blocks on features of patches, an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.layer_norm import LayerNorm
from dealias.models.layers.vss_block import VssBlock, VssSizes, projection


@dataclass(frozen=True)
class MambaSizes:
    """Sizes of the whole.

    Attributes:
        stages: Iterations with blocks.
        blocks: Of each stage.
        features: Channels of a patch.
        patch: Side of a patch in pixels.
        states: Of each channel in a scan.
        expand: Channels inside a block over those outside.
        dropout: Probability that the last block is left out; it grows linearly from 0 at the first.
    """

    stages: int
    blocks: int
    features: int
    patch: int
    states: int
    expand: int
    dropout: float

    def vss(self) -> VssSizes:
        """Of each block."""
        return VssSizes(self.features, self.states, self.expand)

    def dropouts(self, stage: int) -> list[float]:
        """Of the blocks of one stage."""
        count = self.stages * self.blocks
        first = stage * self.blocks
        return [self.dropout * n / max(1, count - 1) for n in range(first, first + self.blocks)]


class PatchEmbedding(nn.Module):
    """A convolution of patches that do not overlap, and layer normalisation."""

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.patch = sizes.patch
        self.convolution = Conv2d(2, sizes.features, sizes.patch, stride=sizes.patch)
        self.norm = LayerNorm(sizes.features)

    def forward(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """(N, 2, H, W), which joins features if there are any, to (N, H/p, W/p, C).

        Zeros fill up the last patches.
        """
        x = x if features is None else F.silu(x)
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
        embedded = self.norm(self.convolution(x).permute(0, 2, 3, 1))
        return embedded if features is None else features + embedded


class MambaStage(nn.Module):
    """Blocks, and an image of what they give.

    Args:
        sizes: Of the whole.
        stage: Its number.
    """

    def __init__(self, sizes: MambaSizes, stage: int) -> None:
        super().__init__()
        self.patch = sizes.patch
        self.blocks = nn.ModuleList(
            VssBlock(sizes.vss(), dropout) for dropout in sizes.dropouts(stage)
        )
        self.unpatch = projection(sizes.features, 2 * sizes.patch**2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H/p, W/p, C) to an image (N, 2, H, W) and the same."""
        for block in self.blocks:
            features = block(features)
        return unpatched(self.unpatch(features), self.patch), features


class MambaHead(nn.Module):
    """The last image: of normalised features."""

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.patch = sizes.patch
        self.norm = LayerNorm(sizes.features)
        self.unpatch = projection(sizes.features, 2 * sizes.patch**2)

    def forward(self, features: Tensor) -> Tensor:
        """(N, H/p, W/p, C) to (N, 2, H, W)."""
        return unpatched(self.unpatch(self.norm(features)), self.patch)


def unpatched(patches: Tensor, side: int) -> Tensor:
    """(N, H/p, W/p, 2 p p) to (N, 2, H, W).

    A patch's pixels come row by row, with the real and the imaginary part side by side.
    """
    grid = patches.reshape(*patches.shape[:3], side, side, 2).permute(0, 5, 1, 3, 2, 4)
    return grid.flatten(4, 5).flatten(2, 3)
