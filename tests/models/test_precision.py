"""Half precision inside the denoisers, and what may happen to float32 elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.engine.device import choose_device
from dealias.engine.precision import DTYPES, allow_tf32, borders, set_precision
from dealias.errors import SettingsError
from dealias.models.layers.convolution import Conv2d, ConvTranspose2d
from dealias.models.mixture import Ensemble, Experts
from dealias.models.network import NetworkEntry
from dealias.models.table import NETWORKS
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure
from shared import maps_for, routed

WITH_BORDERS = [entry for entry in NETWORKS if borders(entry.build(entry.tiny))]


class Convolutions(TorchDispatchMode):
    """In which precisions they were computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (
            torch.ops.aten.convolution.default,
            torch.ops.aten.convolution_backward.default,
        ):
            self.seen |= {one.dtype for one in args[:2]}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["bf16", "fp16"])
@pytest.mark.parametrize("entry", WITH_BORDERS, ids=lambda entry: entry.name)
def test_all_convolutions_are_in_half_precision(entry: NetworkEntry, name: str) -> None:
    """Forward and backward; images, weights and gradients are not."""
    torch.manual_seed(0)
    network = entry.build(entry.tiny)
    images = []
    for precision in ("fp32", name):
        set_precision(network, precision)
        slices = network.needs.slices
        y = torch.randn(1, slices, 3, 16, 20, dtype=torch.complex64,
                        generator=torch.Generator().manual_seed(1)) + 2  # fmt: skip
        masks = [snu_mask(20, 4)]
        maps = maps_for(network.needs, y, masks)
        with Convolutions() as convolutions:
            m = routed(network, measure(y, masks, (16, 20), network.needs, maps))
            image = network(m).image_BHW
            image.sum().backward()
        assert convolutions.seen == {DTYPES[precision] or torch.float32}
        images.append(image.detach())
    assert images[1].dtype == torch.float32
    difference = float(torch.linalg.norm(images[1] - images[0]) / torch.linalg.norm(images[0]))
    assert 0 < difference < 0.1  # a deep network of numbers of 8 bits
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in network.parameters())


LAYERS: list[tuple[nn.Module, Any, dict[str, Any]]] = [
    (Conv2d(4, 6, 3, padding=1, stride=2, groups=2), F.conv2d,
     {"padding": 1, "stride": 2, "groups": 2}),
    (Conv2d(4, 6, (1, 3), dilation=2, bias=False), F.conv2d, {"dilation": 2}),
    (ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), F.conv_transpose2d,
     {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    (ConvTranspose2d(4, 6, 2, dilation=3, bias=False), F.conv_transpose2d, {"dilation": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "function", "settings"), LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_layers_compute_in_the_precision_of_their_input(
    layer: Any, function: Any, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    x = torch.randn(2, 4, 8, 10, dtype=dtype, generator=torch.Generator().manual_seed(2))
    bias = None if layer.bias is None else layer.bias.to(dtype)
    wanted = function(x, layer.weight.to(dtype), bias, **settings)
    found = layer(x)
    assert found.dtype == dtype
    assert torch.equal(found, wanted)


def test_a_network_without_a_border_has_no_half_precision() -> None:
    """Nor has one of which a member would stay as it is."""
    unet, varnet = (NETWORKS[name].build(NETWORKS[name].tiny) for name in ("unet", "varnet"))
    for network in (unet, Ensemble([varnet, unet], (0.5, 0.5)), Experts({"a": varnet, "b": unet})):
        with pytest.raises(SettingsError, match="training.precision: found bf16"):
            set_precision(network, "bf16")
        set_precision(network, "fp32")


@pytest.fixture
def tf32_as_before() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def tf32() -> list[bool]:
    """Of products and convolutions, by what kernels ask and by what torch's compiler asks."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    newer = [cuda.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"]
    return [
        *newer,
        cuda.allow_tf32,
        cudnn.allow_tf32,
        torch.get_float32_matmul_precision() != "highest",
    ]


def test_tf32_is_off_unless_asked_for(tf32_as_before: None) -> None:
    for allowed in (True, False):
        allow_tf32(allowed)
        assert tf32() == [allowed] * 5
    allow_tf32(True)
    choose_device("cpu")
    assert tf32() == [False] * 5
