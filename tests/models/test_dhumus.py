"""dHUMUS: a selector that learns, the phase kept, and what else was wrong as it was tried."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import golden
from dealias.errors import CheckpointError
from dealias.models.dhumus import DHumus, DHumusSettings
from dealias.models.layers.hybrid_scales import HybridScales, Plain, Sizes, SwinLevel
from dealias.models.layers.scale_selector import ScaleSelector, unlikeness
from dealias.models.published.dhumus import DHUMUS
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure

TINY: dict[str, Any] = {
    "cascades": 2, "channels": 4, "heads": 2, "window": 2, "scales": (1, 2, 4), "factors": (2, 3),
    "hidden": 6, "sens_channels": 2, "sens_pools": 2,
}  # fmt: skip
DEAD_BIASES = 4_805
"""Of the team's network: instance normalisation takes them away again."""


def built(**changes: Any) -> DHumus:
    torch.manual_seed(0)
    return DHumus(DHumusSettings.model_validate({**TINY, **changes})).double()


def image_of(network: DHumus, y: Tensor | None = None) -> Tensor:
    y = golden.kspace((2, 1, 3, 32, 36)) if y is None else y
    return network(measure(y, [snu_mask(36, 4)] * len(y), (32, 36), network.needs)).image_BHW


def test_parameters_are_the_teams_but_for_dead_biases() -> None:
    with torch.device("meta"):
        network = DHumus(DHumusSettings(phase=False))
    assert sum(p.numel() for p in network.parameters()) == 13_589_233 - DEAD_BIASES


@pytest.mark.parametrize("choice", ["soft", "hard"])
@pytest.mark.parametrize("phase", [True, False])
def test_the_selector_learns(choice: str, phase: bool) -> None:
    """As it was tried, it ran under no_grad and was random for ever."""
    network = built(choice=choice, phase=phase)
    image_of(network).square().mean().backward()
    for name, parameter in network.selector.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize("choice", ["soft", "hard"])
def test_the_selector_comes_to_choose_the_scale_that_helps(choice: str) -> None:
    network = built(choice=choice, cascades=1, scales=(1, 2))
    with torch.no_grad():  # scale 1 spoils the image, scale 2 leaves it as it is
        for name, parameter in network.cascades[0].denoiser.named_parameters():
            if ".leave." in name:
                parameter.fill_(5.0 if ".scales.1." in name else 0.0)
        network.selector.last.bias[0] += 1
    y = golden.kspace((1, 1, 3, 32, 36))
    seen: list[Tensor] = []
    network.selector.register_forward_hook(lambda module, given, out: seen.append(out.detach()))
    optimiser = torch.optim.Adam(network.selector.parameters(), lr=0.05)
    target = built(cascades=1, scales=(2,))
    kept = {name: p for name, p in network.state_dict().items() if "selector" not in name}
    target.load_state_dict(kept, strict=False)
    wanted = target(measure(y, [snu_mask(36, 4)], (32, 36), network.needs)).image_BHW.detach()
    for _ in range(40):
        loss = (image_of(network, y) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert seen[0][0, 0] > 0.6
    assert seen[-1][0, 1] > 0.9


def test_hard_weights_are_one_hot_with_the_gradient_of_soft_ones() -> None:
    torch.manual_seed(0)
    soft, hard = ScaleSelector((2, 3), 6, 3, hard=False), ScaleSelector((2, 3), 6, 3, hard=True)
    hard.load_state_dict(soft.state_dict())
    image = torch.rand(4, 1, 24, 30)
    a, b = soft(image), hard(image)
    assert torch.equal(b, F.one_hot(a.argmax(1), 3).float())
    factor = torch.randn(4, 3)
    for one, other in zip(soft.parameters(), hard.parameters(), strict=True):
        wanted = torch.autograd.grad((a * factor).sum(), one, retain_graph=True)[0]
        found = torch.autograd.grad((b * factor).sum(), other, retain_graph=True)[0]
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-9)


def test_unlikeness_is_one_minus_ssim_of_interleaved_images() -> None:
    from skimage.metrics import structural_similarity

    image = torch.rand(2, 1, 24, 32, dtype=torch.float64)
    found = unlikeness(image, 2)
    for item in range(2):
        first = image[item, 0, ::2, ::2].numpy()
        for number, (i, j) in enumerate([(0, 1), (1, 0), (1, 1)]):
            other = image[item, 0, i::2, j::2].numpy()
            _, every = structural_similarity(first, other, data_range=1.0, full=True)
            wanted = 1 - every[3:-3, 3:-3].mean()
            assert float(found[item, number]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("hw", [(5, 9), (33, 21), (1, 40)])
def test_the_selector_takes_any_size_and_no_scale_matters(hw: tuple[int, int]) -> None:
    selector = ScaleSelector((2, 3, 4), 6, 3, hard=False)
    image = torch.rand(2, 1, *hw)
    weights = selector(image)
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert torch.allclose(selector(image * 1e-9), weights, rtol=1e-3)
    assert torch.isfinite(selector(image * 0)).all()


def test_the_phase_is_kept() -> None:
    """As it was tried, denoisers saw magnitudes: turning the phase of an image changed nothing."""
    turn = torch.exp(1j * torch.linspace(0, 3, 36, dtype=torch.float64))
    for phase in (True, False):
        network = built(phase=phase, cascades=1)
        x = golden.kspace((1, 1, 1, 32, 36))[:, :, 0]
        weights = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
        seen: list[Tensor] = []
        denoiser = network.cascades[0].denoiser
        denoiser.network.register_forward_pre_hook(
            lambda module, given, seen=seen: seen.append(given[0])
        )
        for one in (x, x * turn):
            given = one if phase else torch.complex(one.abs(), torch.zeros_like(one.abs()))
            out = denoiser(given, weights)
            assert bool(out.imag.abs().max() > 0) == phase
        assert torch.allclose(seen[0], seen[1]) != phase


def test_scales_add_what_they_weigh() -> None:
    torch.manual_seed(0)
    network = HybridScales(2, Sizes(4, 2, 2), (1, 2)).double()
    x = torch.randn(2, 2, 8, 16, dtype=torch.float64)
    weights = torch.tensor([[1, 0], [0.25, 0.75]], dtype=torch.float64)
    one, two = network.scales["1"](x), network.scales["2"](x)
    wanted = x + torch.stack([one[0], 0.25 * one[1] + 0.75 * two[1]])
    assert torch.allclose(network(x, weights), wanted)


def test_an_image_costs_only_the_scales_that_have_weight() -> None:
    torch.manual_seed(0)
    network = HybridScales(2, Sizes(4, 2, 2), (1, 2, 4)).double()
    x = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    weights = torch.tensor([[0.0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    ran: list[str] = []
    for name, scale in network.scales.items():
        scale.register_forward_hook(lambda *_, name=name: ran.append(name))
    trained = network(x, weights).detach()
    assert ran == ["1", "2", "4"]
    ran.clear()
    with torch.no_grad():
        assert torch.equal(network(x, weights), trained)
    assert ran == ["2", "4"]


def test_scale_one_can_add_a_little_and_take_away() -> None:
    """As it was tried it ends in normalisation and ReLU: never below 0, and always of one size."""
    torch.manual_seed(0)
    plain = Plain(2, Sizes(4, 2, 2)).double()
    x = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    published = F.relu(F.instance_norm(plain(x)))
    with torch.no_grad():
        for parameter in plain.leave.parameters():
            parameter.mul_(1e-3)
    out = plain(x)
    assert out.min() < 0
    assert out.abs().max() < 1e-2
    assert published.max() > 1
    assert torch.allclose(F.relu(F.instance_norm(out * 1e3)), published, rtol=1e-3, atol=1e-4)


def test_attention_does_not_reach_across_the_image() -> None:
    """As it was tried, shifted windows had no mask: the first row saw the last."""
    torch.manual_seed(0)
    level = SwinLevel(Sizes(2, 2, 4), level=1).double()
    x = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    changed = x.clone()
    changed[..., -1, :] += torch.randn(4, 8, dtype=torch.float64)
    assert torch.equal(level(x)[..., 0, :], level(changed)[..., 0, :])
    assert not torch.equal(level(x)[..., -2, :], level(changed)[..., -2, :])


def test_weights_of_the_teams_code_are_refused_with_a_reason() -> None:
    with pytest.raises(CheckpointError, match="opposite edges"):
        DHUMUS.settings({"dc_weights": torch.Size([5])})
