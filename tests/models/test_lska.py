"""Large separable kernel attention against plain formulations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dealias.models.layers.lska import LargeKernelAttention, LargeKernelBlock
from dealias.models.layers.lska import LargeKernelGate as Gate

KERNELS = [7, 11, 23, 35, 41, 53]


def assert_same(found: Tensor, wanted: Tensor, of: list[Tensor]) -> None:
    """Outputs and gradients, to 1e-10."""
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    weight = torch.randn_like(wanted)
    pairs = zip(
        torch.autograd.grad((found * weight).sum(), of),
        torch.autograd.grad((wanted * weight).sum(), of),
        strict=True,
    )
    for a, b in pairs:
        assert torch.linalg.norm(a - b) < 1e-10 * torch.linalg.norm(b)


def as_one_kernel(gate: Gate, channel: int) -> Tensor:
    """What a channel's four convolutions are together, from their weights alone."""
    row, column = (one.weight[channel, 0] for one in (gate.row, gate.column))
    dense = column @ row
    step = gate.dilated_row.dilation[0]
    outer = gate.dilated_column.weight[channel, 0] @ gate.dilated_row.weight[channel, 0]
    reach = (len(outer) - 1) * step + 1
    spread = torch.zeros(reach, reach, dtype=outer.dtype)
    spread[::step, ::step] = outer
    # a convolution after another is one with their kernels' full convolution
    return F.conv2d(
        F.pad(dense[None, None], (reach - 1,) * 4), spread.flip(0, 1)[None, None]
    )[0, 0].detach()  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
def test_four_convolutions_are_a_large_one(kernel: int) -> None:
    """Of the size they are named by, where the image's edges are far."""
    torch.manual_seed(0)
    gate = Gate(2, kernel, "none").double()  # type: ignore[arg-type]
    for one in (gate.row, gate.column, gate.dilated_row, gate.dilated_column):
        nn.init.zeros_(one.bias)
    kernels = torch.stack([as_one_kernel(gate, channel) for channel in range(2)])
    assert kernels.shape[-2:] == (kernel, kernel)
    x = torch.randn(1, 2, 58, 59, dtype=torch.float64)
    wanted = x * gate.mix(F.conv2d(x, kernels[:, None], padding=kernel // 2, groups=2))
    off, edge = gate(x) - wanted, kernel // 2
    inside = (..., slice(edge, 58 - edge), slice(edge, 59 - edge))
    assert torch.linalg.norm(off[inside]) < 1e-10 * torch.linalg.norm(wanted[inside])


@pytest.mark.parametrize(
    ("kernel", "parameters"), [(7, 10_848), (11, 11_232), (23, 12_000), (35, 12_768), (53, 13_920)]
)
def test_parameters(kernel: int, parameters: int) -> None:
    gate = Gate(96, kernel, "tanh")  # type: ignore[arg-type]
    assert sum(p.numel() for p in gate.parameters()) == parameters
    attention = LargeKernelAttention(96, kernel, "tanh")  # type: ignore[arg-type]
    assert sum(p.numel() for p in attention.parameters()) == parameters + 2 * (96**2 + 96)


@pytest.mark.parametrize("kind", ["none", "sigmoid", "tanh"])
def test_a_block_is_its_formula(kind: str) -> None:
    """The 1x1 convolution before the gate is applied once, also for the sigmoid."""
    torch.manual_seed(0)
    block = LargeKernelBlock(2, 3, 0.0, 11, kind).double()  # type: ignore[arg-type]
    x = torch.randn(2, 2, 9, 14, dtype=torch.float64, requires_grad=True) * 5
    y = F.instance_norm(F.conv2d(x, block.convolution.weight, padding=1))
    gate = block.attention.gate
    inner = F.gelu(block.attention.first(y))
    seen = F.conv2d(inner, gate.row.weight, gate.row.bias, padding=(0, 1), groups=3)
    seen = F.conv2d(seen, gate.column.weight, gate.column.bias, padding=(1, 0), groups=3)
    row, column = gate.dilated_row, gate.dilated_column
    seen = F.conv2d(seen, row.weight, row.bias, padding=(0, 4), dilation=2, groups=3)
    seen = F.conv2d(seen, column.weight, column.bias, padding=(4, 0), dilation=2, groups=3)
    mixed = gate.mix(seen)
    bounds = {
        "none": lambda y: y,
        "sigmoid": lambda y: 1 / (1 + torch.exp(-y)),
        "tanh": lambda y: (torch.tanh(torch.clamp(y, -12, 12)) + 1) / 2,
    }
    wanted = F.leaky_relu(y + block.attention.last(inner * bounds[kind](mixed)), 0.2)
    assert_same(block(x), wanted, [x, *block.parameters()])
    if kind == "sigmoid":
        twice = F.leaky_relu(y + block.attention.last(inner * gate.mix(mixed).sigmoid()), 0.2)
        assert torch.linalg.norm(twice - wanted) > 1e-3 * torch.linalg.norm(wanted)


def test_the_tanh_gate_is_shut_and_open_without_gradient_beyond_the_clamp() -> None:
    gate = Gate(1, 7, "tanh").double()
    y = torch.tensor([[[[-13.0, 0.0, 13.0]]]], dtype=torch.float64, requires_grad=True)
    bounded = gate._bounded(y)
    bounded.sum().backward()
    assert torch.allclose(bounded, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), atol=1e-9)
    assert y.grad is not None
    assert y.grad.flatten().tolist() == [0.0, 0.5, 0.0]


def test_dropout_drops() -> None:
    """The published block takes a probability and does nothing with it."""
    torch.manual_seed(0)
    block = LargeKernelBlock(2, 64, 0.5, 7, "tanh")
    dropped = (block(torch.randn(1, 2, 8, 8)) == 0).all(dim=(-2, -1))
    assert 10 < int(dropped.sum()) < 54
    assert not (block.eval()(torch.randn(1, 2, 8, 8)) == 0).all(dim=(-2, -1)).any()
