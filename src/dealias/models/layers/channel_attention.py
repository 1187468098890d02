"""Convolutions with channel attention (Zhang et al. 2018, arXiv:1807.02758), as in PromptMR."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.activated import prelu_convolution
from dealias.models.layers.channels import channel_means, gated_sum
from dealias.models.layers.convolution import Conv2d


class ChannelAttentionBlock(nn.Module):
    """x + gate * convolution(PReLU(convolution(x))); the gate looks at the mean of each channel.

    Args:
        channels: Of input and output.
        reduction: The gate's inner width is channels / reduction, at least 1; None for no gate.
        activation: The PReLU. It is shared by many blocks and registered by whoever owns it, so
            that a network's state holds it once.
    """

    def __init__(self, channels: int, reduction: int | None, activation: nn.PReLU) -> None:
        super().__init__()
        self.first = Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = Conv2d(channels, channels, 3, padding=1, bias=False)
        self.gate = None if reduction is None else Gate(channels, reduction)
        self._activation = (activation,)  # in a tuple, which nn.Module does not register

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        y = prelu_convolution(self.first(x), self._activation[0].weight, self.second)
        return x + y if self.gate is None else gated_sum(x, y, self.gate(y))


class Gate(nn.Module):
    """One number in (0, 1) for each channel, from the means of all.

    Args:
        channels: Of the input.
        reduction: What they are divided by inside.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = Conv2d(channels, inner, 1, bias=False)
        self.excite = Conv2d(inner, channels, 1, bias=False)

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 1, 1)."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(channel_means(y)))))
