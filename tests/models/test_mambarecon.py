"""MambaRecon and VarNet around it: published sizes, plain formulations, what is mended."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import golden
from dealias.errors import SettingsError
from dealias.models.layers.mamba_stage import MambaSizes, PatchEmbedding, unpatched
from dealias.models.layers.vss_block import SelectiveScan2d, VssBlock, VssSizes
from dealias.models.mamba_varnet import MambaVarNet, MambaVarNetSettings
from dealias.models.mambarecon import MambaRecon, MambaReconSettings, UnrolledMamba, consistent
from dealias.models.published.mambarecon import MAMBA_VARNET, MAMBARECON
from dealias.models.unrolled import START, image
from dealias.physics.coils import combine, unit_maps
from dealias.physics.fourier import fft, ifft
from dealias.physics.sense import Sense
from dealias.scan.measurement import Measurement, measure

UNUSED = 2 * 2 * 2 * 128 + 3 * 128
"""Of a patch embedding that the published network has behind its end."""
SMALL = MambaSizes(stages=2, blocks=1, features=8, patch=2, states=3, expand=2, dropout=0.0)
AXES = (-2, -1)


@pytest.mark.parametrize(
    ("network", "settings", "wanted"),
    [
        (MambaRecon, MambaReconSettings(), 2_049_280 - UNUSED),
        (MambaRecon, MambaReconSettings(maps="learned"), 2_049_280 - UNUSED + 484_898),
        (MambaVarNet, MambaVarNetSettings(), 2_049_280 - UNUSED + 1 + 484_898),
        (MambaVarNet, MambaVarNetSettings(cascades=12), 12 * (2_049_280 - UNUSED + 1) + 484_898),
    ],
    ids=["mambarecon", "its maps learned", "mamba-varnet", "twelve cascades"],
)
def test_parameters_of_published_configurations(network: Any, settings: Any, wanted: int) -> None:
    with torch.device("meta"):
        sizes = [p.numel() for p in network(settings).parameters()]
    assert sum(sizes) == wanted


@pytest.mark.parametrize("name", ["mambarecon", "mambarecon-published", "mamba-varnet"])
def test_settings_are_read_from_shapes(name: str) -> None:
    case = golden.read(name)
    kind = MAMBA_VARNET if "varnet" in name else MAMBARECON
    shapes = {key: torch.Size(shape) for key, shape in case["shapes"].items()}
    found = kind.settings(shapes)
    wanted = type(found).model_validate(case["settings"])
    assert found.model_copy(update={"dropout": 0.0}) == wanted


def places(height: int, width: int) -> list[list[tuple[int, int]]]:
    """Pixels in the order of each direction."""
    rows = [(y, x) for y in range(height) for x in range(width)]
    columns = [(y, x) for x in range(width) for y in range(height)]
    return [rows, columns, rows[::-1], columns[::-1]]


def plain_scans(scans: SelectiveScan2d, x: Tensor) -> Tensor:
    """Pixel by pixel, direction by direction."""
    sizes = scans.sizes
    inner, rank, states = sizes.inner, sizes.rank, sizes.states
    total = torch.zeros_like(x)
    for k, order in enumerate(places(*x.shape[1:3])):
        A = -torch.exp(scans.log_rates[k * inner : (k + 1) * inner])
        skip = scans.skip[k * inner : (k + 1) * inner]
        h = torch.zeros(len(x), inner, states, dtype=x.dtype)
        for row, column in order:
            u = x[:, row, column]
            seen = u @ scans.see[k].T
            B, C = seen[:, rank : rank + states], seen[:, rank + states :]
            dt = torch.log1p(torch.exp(seen[:, :rank] @ scans.step[k].T + scans.step_bias[k]))
            h = torch.exp(dt[..., None] * A) * h + (dt * u)[..., None] * B[:, None]
            y = torch.zeros_like(total)
            y[:, row, column] = (h * C[:, None]).sum(-1) + skip * u
            total = total + y
    return total


@pytest.mark.parametrize("hw", [(4, 5), (1, 3), (5, 2)])
def test_a_block_is_four_gated_scans(hw: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = VssBlock(VssSizes(features=6, states=3, expand=2), 0.0).double()
    jolt(block)
    x = torch.randn(2, *hw, 6, dtype=torch.float64, requires_grad=True)
    scans = block.scans
    inside, gate = F.linear(F.layer_norm(x, (6,), block.norm.weight, block.norm.bias),
                            scans.split.weight).chunk(2, -1)  # fmt: skip
    conv = scans.convolution
    seen = F.conv2d(inside.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1, groups=12)
    scanned = plain_scans(scans, F.silu(seen).permute(0, 2, 3, 1))
    normalised = F.layer_norm(scanned, (12,), scans.norm.weight, scans.norm.bias)
    wanted = x + F.linear(normalised * F.silu(gate), scans.join.weight)
    assert_same(block(x), wanted, [x, *block.parameters()])


def test_steps_begin_between_a_thousandth_and_a_tenth() -> None:
    torch.manual_seed(0)
    scans = SelectiveScan2d(VssSizes(features=128, states=16, expand=2))
    steps = F.softplus(scans.step_bias.detach())
    assert 1e-3 * 0.999 < steps.min() < 2e-3
    assert 0.05 < steps.max() < 0.1 * 1.001
    wanted = torch.arange(1.0, 17.0).expand(1024, 16)
    torch.testing.assert_close(scans.log_rates.detach().exp(), wanted)


def test_blocks_are_left_out_more_and_more() -> None:
    sizes = MambaSizes(stages=3, blocks=2, features=8, patch=2, states=2, expand=1, dropout=0.5)
    dropouts = [one for stage in range(3) for one in sizes.dropouts(stage)]
    assert dropouts == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    torch.manual_seed(0)
    block = VssBlock(sizes.vss(), 0.5)
    x = torch.randn(64, 2, 2, 8)
    change, whole = block(x) - x, block.eval()(x) - x
    left_out = change.flatten(1).abs().amax(1) == 0
    assert 16 < int(left_out.sum()) < 48
    torch.testing.assert_close(change[~left_out], 2 * whole[~left_out], atol=1e-5, rtol=1e-4)


def test_patches_are_put_where_they_were() -> None:
    patches = torch.arange(2 * 3 * 18.0).reshape(1, 2, 3, 18)
    x = unpatched(patches, 3)
    assert x.shape == (1, 2, 6, 9)
    for row in range(6):
        for column in range(9):
            first = ((row % 3) * 3 + column % 3) * 2
            wanted = patches[0, row // 3, column // 3, first : first + 2]
            assert torch.equal(x[0, :, row, column], wanted)


def test_zeros_fill_up_the_last_patches() -> None:
    embed = PatchEmbedding(SMALL).double()
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    assert torch.equal(embed(x), embed(F.pad(x, (0, 1, 0, 1))))


def test_an_image_joins_features_through_an_activation() -> None:
    embed = PatchEmbedding(SMALL).double()
    x, features = torch.randn(1, 2, 4, 6), torch.randn(1, 2, 3, 8)
    x, features = x.double(), features.double()
    wanted = features + embed(x * torch.sigmoid(x))
    torch.testing.assert_close(embed(x, features), wanted, rtol=0, atol=1e-14)


def problem(coils: int, hw: tuple[int, int], holes: bool = False) -> tuple[Sense, Tensor, Tensor]:
    """An operator, what it measured, and the image that was measured."""
    torch.manual_seed(coils)
    maps = torch.randn(1, 1, coils, *hw, dtype=torch.complex128)
    if holes:
        maps[..., :2, :] = 0
    maps = unit_maps(maps, 2)
    mask = torch.zeros(hw[1], dtype=torch.bool)
    mask[::3] = True
    truth = torch.randn(1, 1, *hw, dtype=torch.complex128)
    A = Sense(maps, mask.reshape(1, 1, 1, 1, -1), AXES)
    return A, A.forward(truth), truth


def replaced(A: Sense, kspace: Tensor, x: Tensor) -> Tensor:
    """Samples of an image's k-space replaced, coil by coil."""
    maps = A._sens
    return combine(ifft(torch.where(A.mask, kspace, fft(maps * x.unsqueeze(2)))), maps)


@pytest.mark.parametrize("hw", [(6, 9), (7, 12)])
@pytest.mark.parametrize("holes", [False, True])
def test_data_consistency_replaces_the_measured_samples(hw: tuple[int, int], holes: bool) -> None:
    A, y, _ = problem(3, hw, holes)
    channels = torch.randn(1, 2, hw[0] + 1, hw[1] + 3, dtype=torch.float64, requires_grad=True)
    kept = channels[..., : hw[0], : hw[1]]
    wanted = replaced(A, y, torch.complex(kept[:, :1], kept[:, 1:]))
    found = consistent(A, A.adjoint(y), channels)
    assert_same(torch.view_as_real(found), torch.view_as_real(wanted), [channels])


@pytest.mark.parametrize(("coils", "right"), [(1, True), (4, False)])
def test_published_data_consistency_spoils_the_true_image(coils: int, right: bool) -> None:
    """It takes M F S x0 for measured, which it is for one coil alone; ours leaves the truth."""
    A, y, truth = problem(coils, (8, 9))
    assert off(consistent(A, A.adjoint(y), torch.cat([truth.real, truth.imag], 1)), truth) < 1e-12
    theirs = A.forward(A.adjoint(y))
    assert (off(theirs, y) < 1e-12) == right
    assert (off(replaced(A, theirs, truth), truth) < 1e-12) == right
    assert right or off(replaced(A, theirs, truth), truth) > 0.1


def test_published_varnet_takes_the_measured_samples_away() -> None:
    """It subtracts an image that has them; here the change alone is subtracted."""
    A, y, _ = problem(1, (8, 10))
    x0 = A.adjoint(y)
    torch.manual_seed(3)
    settings = MambaVarNetSettings(stages=1, blocks=1, features=8, states=2, expand=1)
    network = MambaVarNet(settings).double().eval()
    jolt(network)
    cascade = network.cascades[0]
    given = cascade.unrolled(A, x0, x0)
    published = y - fft(A._sens * given.unsqueeze(2))
    assert off(torch.where(A.mask, published, 0 * y) + y, y) < 1e-12
    ours = fft(A._sens * image(cascade(A, x0, START), A, x0).unsqueeze(2))
    assert off(torch.where(A.mask, ours, 0 * y), y) < 1e-12
    assert off(ours, y) > 0.1


def test_it_is_equivariant_to_scale_and_zero_for_zeros() -> None:
    A, y, _ = problem(3, (8, 9))
    torch.manual_seed(1)
    network = UnrolledMamba(SMALL).double()
    jolt(network)
    x0 = A.adjoint(y)
    x = network(A, x0, x0)
    assert off(network(A, 1e3 * x0, 1e3 * x0), 1e3 * x) < 1e-12
    assert torch.equal(network(A, 0 * x0, 0 * x0), 0 * x0)


def measurement(maps: bool) -> Measurement:
    y = golden.kspace((1, 1, 3, 9, 28))
    mask = golden.mask({"width": 28, "every": 4, "first": 1, "acs": [11, 17]})
    sens = unit_maps(ifft(y), 2) if maps else None
    needs = MambaRecon(MambaReconSettings()).needs
    return measure(y, [mask], (9, 28), needs, sens)


def test_it_says_which_maps_are_missing() -> None:
    with pytest.raises(SettingsError, match=r"network\.maps.*learned"):
        MambaRecon(MambaReconSettings())(measurement(maps=False))


def test_maps_may_be_learned() -> None:
    settings = MambaReconSettings(
        cascades=1, blocks=1, features=8, states=2, maps="learned", sens_channels=2, sens_pools=2
    )
    network = MambaRecon(settings).double()
    assert network.needs.maps == "none"
    estimate = network(measurement(maps=False))
    estimate.image_BHW.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    again = network(measurement(maps=True))  # it does not look at those of the measurement
    assert torch.equal(again.image_BHW, estimate.image_BHW)


def jolt(module: nn.Module) -> None:
    """Weights of a size that shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def off(found: Tensor, wanted: Tensor) -> float:
    return float((torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted)).detach())


def assert_same(found: Tensor, wanted: Tensor, of: list[Tensor]) -> None:
    """Outputs and gradients, to 1e-10."""
    weight = torch.randn_like(wanted)
    a, b = (torch.autograd.grad((one * weight).sum(), of) for one in (found, wanted))
    assert off(found, wanted) < 1e-10
    for one, other in zip(a, b, strict=True):
        assert off(one, other) < 1e-10
