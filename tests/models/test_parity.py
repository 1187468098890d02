"""Equal to fastmri 0.3.0 with the same weights: outputs and all gradients, in float64."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from dealias.engine.policies import MemoryPolicy
from dealias.models.layers.unet import UNet
from dealias.models.published.fastmri import VARNET
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.models import Unet as ReferenceUnet
    from fastmri.models import VarNet as ReferenceVarNet

KEEP = MemoryPolicy()


def same_weights(source: nn.Module, target: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Load the reference's weights; gives pairs of ours and theirs."""
    theirs = {VARNET.rename(name): one for name, one in source.named_parameters()}
    target.load_state_dict(theirs)
    return [(ours, theirs[name]) for name, ours in target.named_parameters()]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((torch.linalg.norm(a - b) / torch.linalg.norm(b)).detach())


def gradients_agree(pairs: list[tuple[nn.Parameter, nn.Parameter]], bound: float) -> None:
    size = max(float(theirs.grad.abs().max()) for _, theirs in pairs)  # type: ignore[union-attr]
    for ours, theirs in pairs:
        assert ours.grad is not None
        assert theirs.grad is not None
        # a gradient that is zero but for rounding is compared with the largest one
        off = float(torch.linalg.norm(ours.grad - theirs.grad))
        assert off <= bound * max(float(torch.linalg.norm(theirs.grad)), 1e-3 * size)


@pytest.mark.parametrize("hw", [(32, 24), (37, 29)])
def test_unet_is_fastmris(hw: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = ReferenceUnet(1, 1, chans=6, num_pool_layers=3).double()
    ours = UNet(1, 1, 6, 3).double()
    pairs = same_weights(theirs, ours)
    x = torch.randn(2, 1, *hw, dtype=torch.float64)
    weight = torch.randn(2, 1, *hw, dtype=torch.float64)
    outputs = [network(x) for network in (ours, theirs)]
    assert relative(*outputs) < 1e-12
    for output in outputs:
        (output * weight).sum().backward()
    gradients_agree(pairs, 1e-10)


def compare_varnet(hw: tuple[int, int], coils: int, cascades: int, channels: int, sens: int,
                   pools: int, policy: MemoryPolicy = KEEP) -> None:  # fmt: skip
    torch.manual_seed(1)
    theirs = ReferenceVarNet(cascades, sens, pools, channels, pools).double()
    settings = VarNetSettings(
        cascades=cascades, channels=channels, pools=pools, sens_channels=sens, sens_pools=pools
    )
    ours = VarNet(settings).double()
    policy.apply(ours)
    pairs = same_weights(theirs, ours)
    with torch.no_grad():
        for step, reference in [pair for pair in pairs if pair[0].shape == (1,)][:cascades]:
            step.fill_(0.7)
            reference.fill_(0.7)
    mask = snu_mask(hw[1], 4)
    y = torch.randn(1, coils, *hw, dtype=torch.complex128) + 3
    m = measure(y[:, None], [mask], hw, ours.needs)
    masked = y * torch.tensor(mask.lines)
    mask_tensor = torch.tensor(mask.lines).reshape(1, 1, 1, -1, 1)
    weight = torch.randn(1, *hw, dtype=torch.float64)
    # one after the other: at the published size only one graph fits
    wanted = theirs(torch.view_as_real(masked), mask_tensor, mask.acs_count)
    (wanted * weight).sum().backward()
    wanted = wanted.detach()
    got = m.window(ours(m).image_BHW)
    (got * weight).sum().backward()
    assert relative(got, wanted) < 1e-10
    gradients_agree(pairs, 1e-10)


@pytest.mark.parametrize("hw", [(32, 48), (35, 45), (36, 51)])
def test_varnet_is_fastmris(hw: tuple[int, int]) -> None:
    compare_varnet(hw, coils=3, cascades=3, channels=4, sens=3, pools=2)


@pytest.mark.slow
def test_varnet_is_fastmris_at_the_published_size() -> None:
    compare_varnet((640, 368), coils=4, cascades=12, channels=18, sens=8, pools=4,
                   policy=MemoryPolicy(cascades="recompute", coils=1))  # fmt: skip
