"""PromptMR's U-Net (Xin et al. 2023, arXiv:2309.13839): prompts, channel attention, history."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.channel_attention import ChannelAttentionBlock
from dealias.models.layers.channels import channel_means
from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.lines import laid_out_like
from dealias.models.network import Block

Triple = tuple[int, int, int]
History = tuple[tuple[Tensor, ...], ...]
"""For each level of the decoder, deepest first, what earlier cascades saw there, newest first."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of one U-Net of three poolings; triples go from the shallowest level to the deepest.

    Attributes:
        features: Channels at full, half, quarter and eighth resolution.
        prompt_channels: Of each level's prompts.
        prompts: How many each level mixes.
        prompt_size: Side of each level's prompts in pixels.
        encoder: Blocks of each encoder level.
        decoder: Blocks of each decoder level.
        skip: Blocks of each skip connection.
        bottleneck: Blocks of the bottleneck.
        reduction: Of the channel attention, or None for none.
        learn_prompts: Whether prompts are trained; the published ones stay random.
        history: Earlier cascades that each decoder level looks back at.
    """

    features: tuple[int, int, int, int]
    prompt_channels: Triple
    prompts: Triple
    prompt_size: Triple
    encoder: Triple
    decoder: Triple
    skip: Triple
    bottleneck: int
    reduction: int | None
    learn_prompts: bool
    history: int = 0

    def blocks(
        self, channels: int, count: int, activation: nn.PReLU, first: nn.PReLU | None = None
    ) -> nn.Sequential:
        """So many channel attention blocks; the first may have an activation of its own."""
        activations = [first or activation, *[activation] * (count - 1)][:count]
        return nn.Sequential(
            *(ChannelAttentionBlock(channels, self.reduction, one) for one in activations)
        )


class EncoderLevel(Block):
    """Blocks, then a convolution of stride 2."""

    def __init__(self, blocks: nn.Sequential, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.down = Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, in, H, W) to (N, out, H/2, W/2), and what the skip connection takes."""
        skip = self.blocks(x)
        return self.down(skip), skip


class Bottleneck(Block):
    """Blocks at the lowest resolution."""

    def __init__(self, blocks: nn.Sequential) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return self.blocks(x)


class Prompt(nn.Module):
    """A mixture of prompts, weighted by what is seen, at the features' resolution."""

    def __init__(self, count: int, channels: int, size: int, seen: int, learned: bool) -> None:
        super().__init__()
        prompts = torch.rand(1, count, channels, size, size)
        self.prompts = nn.Parameter(prompts, requires_grad=learned)
        self.weigh = nn.Linear(seen, count)
        self.convolution = Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, seen, H, W) to (N, channels, H, W)."""
        means = channel_means(x).flatten(1).to(self.weigh.weight.dtype)
        weights = F.softmax(self.weigh(means), dim=1)
        mixed = torch.einsum("nl,ldhw->ndhw", weights, self.prompts[0]).to(x.dtype)
        mixed = laid_out_like(mixed, x)
        return self.convolution(F.interpolate(mixed, x.shape[-2:], mode="bilinear"))


class Momentum(nn.Module):
    """A 1x1 convolution over the features of now and before, then a block.

    Published as one convolution of all features concatenated. A sum of one for each is the same,
    and keeps no copy of features that are kept already.
    """

    def __init__(self, block: ChannelAttentionBlock, channels: int, history: int) -> None:
        super().__init__()
        self.mix = Conv2d(channels * (history + 1), channels, 1, bias=False)
        self.block = block

    def forward(self, x: Tensor, earlier: tuple[Tensor, ...]) -> Tensor:
        """(N, C, H, W) and as many of the same as there is history, newest first."""
        weights = self.mix.weight.to(x.dtype).chunk(1 + len(earlier), dim=1)
        mixed = F.conv2d(x, weights[0])
        for features, weight in zip(earlier, weights[1:], strict=True):
            mixed = mixed + F.conv2d(features, weight)
        return self.block(mixed)


class DecoderLevel(Block):
    """History, prompt, blocks, upsampling, skip connection, a last block."""

    def __init__(self, sizes: Sizes, level: int, activation: nn.PReLU) -> None:
        super().__init__()
        out, inner = sizes.features[level : level + 2]
        prompt = sizes.prompt_channels[level]
        block = ChannelAttentionBlock
        self.prompt = Prompt(
            sizes.prompts[level], prompt, sizes.prompt_size[level], inner, sizes.learn_prompts
        )
        self.momentum = (
            Momentum(block(inner, sizes.reduction, activation), inner, sizes.history)
            if sizes.history
            else None
        )
        self.blocks = sizes.blocks(inner + prompt, sizes.decoder[level], activation)
        self.reduce = Conv2d(inner + prompt, inner, 1, bias=False)
        self.up = Conv2d(inner, out, 1, bias=False)
        self.skip = sizes.blocks(out, sizes.skip[level], activation)
        self.last = block(out, sizes.reduction, activation)

    def forward(self, x: Tensor, skip: Tensor, earlier: tuple[Tensor, ...]) -> Tensor:
        """(N, inner, H, W) and a skip (N, out, 2H, 2W) to (N, out, 2H, 2W)."""
        prompt = self.prompt(x)
        if self.momentum is not None:
            x = self.momentum(x, earlier)
        x = self.reduce(self.blocks(torch.cat([x, prompt], dim=1)))
        # published the other way round; a 1x1 convolution without bias commutes with interpolation
        up = F.interpolate(self.up(x), scale_factor=2, mode="bilinear")
        return self.last(up + self.skip(skip))


class PromptUNet(nn.Module):
    """The U-Net: three levels, of which each decoder level is told the kind of image by prompts.

    Args:
        channels: Of input and output.
        sizes: Everything else.
        activation: The PReLU of all blocks but the first, which has one of its own.

    Attributes:
        memory_format: Of everything inside, as in `layers.unet.UNet`.
    """

    def __init__(self, channels: int, sizes: Sizes, activation: nn.PReLU) -> None:
        super().__init__()
        self.history = sizes.history
        self.first = Conv2d(channels, sizes.features[0], 3, padding=1, bias=False)
        self.activation = nn.PReLU()
        firsts = (self.activation, None, None)
        self.encoder = nn.ModuleList(
            EncoderLevel(sizes.blocks(a, count, activation, first), a, b)
            for (a, b), count, first in zip(
                pairwise(sizes.features), sizes.encoder, firsts, strict=True
            )
        )
        self.bottleneck = Bottleneck(sizes.blocks(sizes.features[3], sizes.bottleneck, activation))
        self.decoder = nn.ModuleList(
            DecoderLevel(sizes, level, activation) for level in reversed(range(3))
        )
        self.last = Conv2d(sizes.features[0], channels, 5, padding=2, bias=False)
        self.memory_format = torch.channels_last

    def forward(self, x: Tensor, history: History = ()) -> Tensor | tuple[Tensor, History]:
        """(N, channels, H, W) to the same, and the history for the next where there is one.

        Args:
            x: Real; H and W are multiples of 8.
            history: Of the cascade before; empty in the first, which takes its own features for it.
        """
        x = self.first(x.contiguous(memory_format=self.memory_format))
        skips = []
        for level in self.encoder:
            x, skip = level(x)
            skips.append(skip)
        x = self.bottleneck(x)
        seen = []
        for depth, level in enumerate(self.decoder):
            earlier = history[depth] if history else (x,) * self.history
            seen.append((x, *earlier[:-1])[: self.history])
            x = level(x, skips.pop(), earlier)
        return (self.last(x), tuple(seen)) if self.history else self.last(x)
