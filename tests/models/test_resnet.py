"""ResNet-50, and the reader of sMaRtIfy's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

import golden_classes
from dealias.errors import CheckpointError
from dealias.models.published.classifier import read_classifier
from dealias.models.resnet import Bottleneck, ResNet50, ResNetSettings
from shared import same

SMALL = ResNetSettings(in_channels=1, classes=2)


def resnet(settings: ResNetSettings = SMALL) -> ResNet50:
    torch.manual_seed(0)
    return ResNet50(settings)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    # torchvision's own number; sMaRtIfy's without the 26,496 biases of its convolutions
    [(ResNetSettings(), 25_557_032), (SMALL, 23_505_858)],
)
def test_published_size(settings: ResNetSettings, parameters: int) -> None:
    with torch.device("meta"):
        network = ResNet50(settings)
        assert network(torch.empty(2, settings.in_channels, 64, 50)).shape == (2, settings.classes)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    "changes", [{"classes": 0}, {"in_channels": 0}, {"bias": True}, {"widths": [8]}, {"depths": []}]
)
def test_settings_are_judged(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ResNetSettings.model_validate(changes)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_smaller_one_is_a_part_of_the_published_one(layers: int) -> None:
    widths, depths = (64, 128, 256, 512)[:layers], (3, 4, 6, 3)[:layers]
    small = ResNetSettings(in_channels=1, classes=2, widths=widths, depths=depths)
    with torch.device("meta"):
        own, whole = (
            {name: one.shape for name, one in ResNet50(one).named_parameters() if "fc" not in name}
            for one in (small, SMALL)
        )
    assert own == {name: whole[name] for name in own}
    assert {name.split(".")[0] for name in own} - {"conv1", "bn1"} == {
        f"layer{number + 1}" for number in range(layers)
    }
    seen: list[torch.Size] = []
    network = ResNet50(small).eval()
    network.get_submodule(f"layer{layers}").register_forward_hook(
        lambda module, given, out: seen.append(out.shape)
    )
    network(torch.zeros(1, 1, 96, 64))
    assert [tuple(one[2:]) for one in seen] == [(96 // small.stride, 64 // small.stride)]


@pytest.mark.parametrize("hw", [(1, 1), (33, 47), (64, 20)])
def test_in_eval_mode_a_batch_is_its_items_of_any_size(hw: tuple[int, int]) -> None:
    network = resnet().double().eval()
    x = torch.rand(3, 1, *hw, dtype=torch.float64)
    alone = torch.cat([network(one[None]) for one in x])
    torch.testing.assert_close(network(x), alone, rtol=1e-10, atol=0)


def test_the_stride_is_in_the_3x3_convolution() -> None:
    """Version 1.5: the first 1x1 convolution still sees every pixel."""
    torch.manual_seed(0)
    block = Bottleneck(8, 4, 2).double().eval()
    x = torch.randn(2, 8, 9, 7, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(block(x).sum(), x)[0]
    assert (gradient[:, :, 1::2, 1::2] != 0).any()

    def normal(y: torch.Tensor) -> torch.Tensor:
        return y / (1 + 1e-5) ** 0.5  # running mean 0 and variance 1

    inside = F.relu(normal(F.conv2d(x, block.conv1.weight)))
    inside = F.relu(normal(F.conv2d(inside, block.conv2.weight, stride=2, padding=1)))
    shortcut = normal(F.conv2d(x[:, :, ::2, ::2], block.downsample[0].weight))  # type: ignore[index]
    plain = F.relu(normal(F.conv2d(inside, block.conv3.weight)) + shortcut)
    torch.testing.assert_close(block(x), plain, rtol=1e-10, atol=1e-12)


def test_it_learns_two_classes() -> None:
    network = resnet().train()
    x = torch.rand(4, 1, 32, 32) * torch.tensor([1.0, 1, 4, 4])[:, None, None, None]
    x[2:, :, ::4] = 0
    classes = torch.tensor([0, 0, 1, 1])
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4)
    for _ in range(12):
        loss = F.cross_entropy(network(x), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05


def theirs() -> golden_classes.State:
    """A file of sMaRtIfy's, float32."""
    shapes = golden_classes.read("smartify")["shapes"]
    drawn = golden_classes.weights(shapes)
    return {name: one if one.ndim == 0 else one.float() for name, one in drawn.items()}


def test_all_of_smartifys_classifier_is_read() -> None:
    state = theirs()
    settings, weights = read_classifier(state)
    network = ResNet50(settings)
    network.load_state_dict(weights)
    assert settings == ResNetSettings(in_channels=2, classes=2)
    biases = {
        key for key in state if key.endswith(".bias") and state[key[:-4] + "weight"].ndim == 4
    }
    assert len(biases) == 52
    assert sum(state[key].numel() for key in biases) == 26_496
    assert len(weights) == len(state) - len(biases)
    assert {one.dtype for one in weights.values()} == {torch.float32, torch.int64}
    mean, bias = state["layer2.0.i_downsample.1.running_mean"], "layer2.0.i_downsample.0.bias"
    assert torch.equal(
        weights["layer2.0.downsample.1.running_mean"],
        (mean.double() - state[bias].double()).float(),
    )
    # the norms' own biases stay
    for key in ("layer3.1.batch_norm2.bias", "layer1.0.i_downsample.1.bias"):
        named = key.replace("batch_norm", "bn").replace("i_downsample", "downsample")
        assert torch.equal(weights[named], state[key])
    # and the file's own weights are as they were
    assert same(state, theirs())


def test_another_classifier_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"found no 'batch_norm1\.weight'; expected weights"):
        read_classifier(resnet().state_dict())
