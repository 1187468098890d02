"""Convolutions that compute in the precision of what they are given."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dealias.kernels.convolution import conv3x3, conv3x3_moments, suits


class Conv2d(nn.Conv2d):
    """nn.Conv2d, its weights cast to its input's precision each time it runs.

    The weights stay float32 and get float32 gradients. As the cast is part of the layer, whatever
    runs the layer again for the backward pass casts again. On a CPU our own kernels compute what
    suits them (`dealias.kernels`).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W'), in the precision of x."""
        weight, bias = _like(self.weight, x), _like(self.bias, x)
        if self.suits_kernels(x):
            return conv3x3(x, weight, bias)  # type: ignore[arg-type]
        return self._conv_forward(x, weight, bias)  # type: ignore[arg-type]

    def with_moments(self, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """What an x that suits gives, and its moments as `kernels.norm` has them."""
        weight, bias = _like(self.weight, x), _like(self.bias, x)
        return conv3x3_moments(x, weight, bias, eps)  # type: ignore[arg-type]

    def suits_kernels(self, x: Tensor) -> bool:
        """Whether our kernels compute it: of 3x3 with zero padding 1, no more, and worth it."""
        sizes = (self.kernel_size, self.padding, self.stride, self.dilation)
        plain = sizes == ((3, 3), (1, 1), (1, 1), (1, 1))
        plain = plain and self.groups == 1 and self.padding_mode == "zeros"
        return plain and suits(x, self.out_channels)


class ConvTranspose2d(nn.ConvTranspose2d):
    """nn.ConvTranspose2d, its weights cast like those of `Conv2d`."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, in, H, W) to (N, out, H', W'), in the precision of x."""
        weight, bias = _like(self.weight, x), _like(self.bias, x)
        settings = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return F.conv_transpose2d(x, weight, bias, *settings)  # type: ignore[arg-type]


def _like(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(x.dtype)
