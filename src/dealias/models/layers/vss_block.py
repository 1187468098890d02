"""VMamba's block: selective scans of an image in four directions (Liu et al. 2024, 2401.10166)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.convolution import Conv2d
from dealias.models.layers.layer_norm import LayerNorm
from dealias.models.layers.linear import Linear
from dealias.models.layers.selective_scan import selective_scan
from dealias.models.network import Block

DIRECTIONS = 4
"""Along rows, along columns, and both backwards."""
SHORTEST, LONGEST = 1e-3, 1e-1
"""Between which steps begin."""


@dataclass(frozen=True)
class VssSizes:
    """Sizes of a block.

    Attributes:
        features: Channels of what comes in and goes out.
        states: Of each channel in a scan.
        expand: Channels inside over those outside.
    """

    features: int
    states: int
    expand: int

    @property
    def inner(self) -> int:
        """Channels inside."""
        return self.features * self.expand

    @property
    def rank(self) -> int:
        """Of the map from channels to steps."""
        return math.ceil(self.features / 16)


class SelectiveScan2d(nn.Module):
    """A gated sum of the scans in four directions, each with weights of its own.

    Args:
        sizes: Of it.
    """

    def __init__(self, sizes: VssSizes) -> None:
        super().__init__()
        inner, rank = sizes.inner, sizes.rank
        self.sizes = sizes
        self.split = projection(sizes.features, 2 * inner)
        self.convolution = Conv2d(inner, inner, 3, padding=1, groups=inner)
        # what each direction sees: a step's factors, how a token enters, how it is read
        self.see = nn.Parameter(_uniform((DIRECTIONS, rank + 2 * sizes.states, inner), inner))
        self.step = nn.Parameter(_uniform((DIRECTIONS, inner, rank), rank))
        self.step_bias = nn.Parameter(_step_bias((DIRECTIONS, inner)))
        # directions and channels in one axis, as published
        rates = torch.arange(1.0, sizes.states + 1).log()
        self.log_rates = nn.Parameter(rates.expand(DIRECTIONS * inner, -1).clone())
        self.skip = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.norm = LayerNorm(inner)
        self.join = projection(inner, sizes.features)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        x, gate = self.split(x).chunk(2, dim=-1)
        x = F.silu(self.convolution(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        y = self.norm(self._scans(x)).to(gate.dtype)
        return self.join(y * F.silu(gate))

    def _scans(self, x: Tensor) -> Tensor:
        """(N, H, W, D) to the sum of all scans, float32 or better."""
        height, width = x.shape[1:3]
        rows, columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
        u_NLGD = torch.stack([rows, columns, rows.flip(1), columns.flip(1)], dim=2)
        y_NLGD = self._scan(u_NLGD)
        ahead, back = y_NLGD.chunk(2, dim=2)
        rows, columns = (ahead + back.flip(1)).unbind(2)
        along = columns.reshape(len(x), width, height, -1).transpose(1, 2)
        return rows.reshape(x.shape) + along

    def _scan(self, u_NLGD: Tensor) -> Tensor:
        """(N, L, 4, D): the scan of each direction, and what it skips."""
        seen = torch.einsum("nlgd,gcd->nlgc", u_NLGD, self.see.to(u_NLGD.dtype))
        states = self.sizes.states
        factors, B_NLGN, C_NLGN = torch.split(seen, [self.sizes.rank, states, states], dim=-1)
        raw = torch.einsum("nlgr,gdr->nlgd", factors, self.step.to(u_NLGD.dtype))
        # a sum over all tokens wants float32
        exact = torch.promote_types(u_NLGD.dtype, torch.float32)
        u_NLGD, raw, B_NLGN, C_NLGN = (one.to(exact) for one in (u_NLGD, raw, B_NLGN, C_NLGN))
        step_NLGD = F.softplus(raw + self.step_bias.to(exact))
        rates_GDN = -self.log_rates.to(exact).exp().reshape(DIRECTIONS, -1, states)
        y_NLGD = selective_scan(u_NLGD, step_NLGD, rates_GDN, B_NLGN, C_NLGN)
        return torch.addcmul(y_NLGD, u_NLGD, self.skip.to(exact).reshape(DIRECTIONS, -1))


class VssBlock(Block):
    """x plus the scans of x normalised.

    Args:
        sizes: Of the scans.
        dropout: Probability that an item goes without them (stochastic depth).
    """

    def __init__(self, sizes: VssSizes, dropout: float) -> None:
        super().__init__()
        self.norm = LayerNorm(sizes.features)
        self.scans = SelectiveScan2d(sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        residual = self.scans(self.norm(x))
        if self.training and self.dropout.p:
            residual = residual * self.dropout(residual.new_ones(len(residual), 1, 1, 1))
        return x + residual


def projection(channels: int, out: int) -> Linear:
    """A linear map without bias, begun as published: normal, of deviation 0.02."""
    layer = Linear(channels, out, bias=False)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    return layer


def _uniform(shape: tuple[int, ...], fan: int) -> Tensor:
    return torch.empty(shape).uniform_(-1, 1) / math.sqrt(fan)


def _step_bias(shape: tuple[int, ...]) -> Tensor:
    """What softplus makes steps of, whose logarithms are uniform."""
    low, high = math.log(SHORTEST), math.log(LONGEST)
    step = torch.empty(shape).uniform_(low, high).exp()
    return step + torch.log(-torch.expm1(-step))
