"""E2E-VarNet with fully connected middles: published sizes, and layers that stay and learn."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dealias.models.layers.unet_fc import UNetFC
from dealias.models.published.fastmri import VARNET
from dealias.models.published.snu2022 import VARNET_FC
from dealias.models.table import NETWORKS
from dealias.models.varnet_fc import VarNetFC, VarNetFCSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure


def image(network: VarNetFC, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((1, 1, 3, 32, 36)) + 1j * rng.standard_normal((1, 1, 3, 32, 36))
    m = measure(torch.from_numpy(y), [snu_mask(36, 4)], (32, 36), network.needs)
    return network(m).image_BHW


def tiny(**changes: object) -> VarNetFC:
    torch.manual_seed(0)
    settings = NETWORKS["varnet-fc"].tiny.model_copy(update=changes)
    return VarNetFC(settings).double()  # type: ignore[arg-type]


def dense(network: VarNetFC) -> dict[str, torch.nn.Parameter]:
    """Parameters of the layers that were published as random ones."""
    return {name: p for name, p in network.named_parameters() if ".middle.1." in name}


def test_most_parameters_are_the_patterns() -> None:
    with torch.device("meta"):
        network = VarNetFC(VarNetFCSettings())
    assert sum(p.numel() for p in network.parameters()) == 179_201_524
    assert sum(p.numel() for p in dense(network).values()) == 168_617_024
    with torch.device("meta"):
        image = measure(
            torch.empty(1, 1, 4, 640, 372, dtype=torch.complex64), [snu_mask(372, 8)],
            (320, 320), network.needs,
        )  # fmt: skip
    assert network(image).image_BHW.shape == (1, 640, 372)


def test_the_same_image_twice_and_every_layer_learns() -> None:
    network = tiny()
    assert len(dense(network)) == 4 * 3  # in both cascades and in the sensitivity network
    first = image(network)
    assert torch.equal(first, image(network))
    first.square().sum().backward()
    before = {name: p.detach().clone() for name, p in dense(network).items()}
    torch.optim.SGD(network.parameters(), lr=1e-2).step()
    for name, parameter in dense(network).items():
        assert not torch.equal(parameter, before[name]), name


def test_the_bottom_is_the_published_one() -> None:
    torch.manual_seed(0)
    unet = UNetFC(2, 2, 3, 2, (6, 5), 0.0).double()
    convolution, dense_middle = unet.middle
    x = torch.randn(2, 6, 6, 5, dtype=torch.float64, requires_grad=True)
    maxima = F.max_pool2d(F.conv2d(x, convolution.weight, padding=1), (3, 3), (3, 2))
    layer, spread = dense_middle.layers[0], dense_middle.spread
    values = F.relu(maxima.reshape(2, -1) @ layer.weight.T + layer.bias)
    wanted = F.conv_transpose2d(
        values.reshape(2, 12, 2, 2), spread.weight, spread.bias, stride=(3, 2)
    )
    found = unet.middle(x)
    of = [x, *unet.middle.parameters()]
    weight = torch.randn_like(wanted)
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), of) for y in (found, wanted))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.linalg.norm(a - b) < 1e-10 * torch.linalg.norm(b)


def test_the_encoder_keeps_the_largest_values() -> None:
    unet, seen = UNetFC(1, 1, 2, 1, (2, 2), 0.0), []
    unet.down[0].register_forward_hook(lambda *_: torch.arange(32.0).reshape(1, 2, 4, 4))
    unet.middle.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    unet(torch.zeros(1, 1, 4, 4))
    assert seen[0][0, 0].tolist() == [[5, 7], [13, 15]]


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_for_training(training: bool) -> None:
    network = tiny(dropout=0.5, sens_dropout=0.5).train(training)
    assert torch.equal(image(network), image(network)) is not training


def test_its_files_are_not_taken_for_those_of_the_plain_varnet() -> None:
    keys = [
        "cascades.0.model.unet.down_sample_layers.0.layers.0.weight",
        "sens_net.norm_unet.unet.down_sample_layers.0.layers.0.weight",
        "cascades.0.model.unet.invConv1.weight",
        "sens_net.norm_unet.unet.fc1.layers.0.weight",
        "cascades.0.model.unet.conv.weight",
    ]

    def matches(signature: tuple[str, ...]) -> bool:
        return all(any(re.fullmatch(one, key) for key in keys) for one in signature)

    assert matches(VARNET_FC.signature)
    assert not matches(VARNET.signature)
