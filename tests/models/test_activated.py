"""PReLU and a convolution in one, against torch's own two."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dealias.models.layers.activated import prelu_convolution
from dealias.models.layers.convolution import Conv2d

FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("memory_format", FORMATS, ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 1.5])
@pytest.mark.parametrize("settings", [{"padding": 1}, {"stride": 2, "dilation": 2}])
def test_values_and_gradients_are_those_of_the_two(
    memory_format: torch.memory_format, slope: float, settings: dict[str, int]
) -> None:
    rng = torch.Generator().manual_seed(2)
    convolution = Conv2d(3, 4, 3, bias=False, **settings).double()
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64, generator=rng) * 5 + 2
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    a = torch.tensor([slope], dtype=torch.float64, requires_grad=True)
    given = (x, a, convolution.weight)
    outs = prelu_convolution(x, a, convolution), convolution(F.prelu(x, a))
    towards = torch.randn(outs[0].shape, dtype=torch.float64, generator=rng)
    found, wanted = ((one, *torch.autograd.grad(one, given, towards)) for one in outs)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_what_is_kept_is_the_input_alone() -> None:
    kept: list[torch.Tensor] = []
    x = torch.randn(1, 4, 9, 7).requires_grad_() * 2
    convolution = Conv2d(4, 4, 3, padding=1, bias=False)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        prelu_convolution(x, torch.tensor([0.25], requires_grad=True), convolution)
    assert [t.data_ptr() for t in kept if t.numel() == x.numel()] == [x.data_ptr()]
