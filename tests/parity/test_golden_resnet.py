"""ResNet-50 computes what torchvision's and sMaRtIfy's printed, in eval and in training mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import golden
import golden_classes
from dealias.models.published.classifier import read_classifier
from dealias.models.resnet import ResNet50, ResNetSettings

BOUND = 1e-10


def network_of(name: str, case: Mapping[str, Any]) -> ResNet50:
    settings = ResNetSettings.model_validate(case["settings"])
    weights = golden_classes.weights(case["shapes"])
    if name == "smartify":
        read, weights = read_classifier(weights)
        assert read == settings
    network = ResNet50(settings).double()
    network.load_state_dict(weights)
    return network


def assert_products(found: Mapping[str, Tensor], wanted: Mapping[str, float],
                    sizes: Mapping[str, float]) -> None:  # fmt: skip
    products = golden.products({name: found[name] for name in wanted})
    for name, product in wanted.items():
        assert abs(products[name] - product) < BOUND * sizes[name], name


@pytest.mark.parametrize("name", ["torchvision", "smartify"])
@pytest.mark.parametrize("mode", golden_classes.MODES)
def test_scores_gradients_and_running_means_are_theirs(name: str, mode: str) -> None:
    case = golden_classes.read(name)
    network, wanted = network_of(name, case), case[mode]
    scores, gradients, after = golden_classes.run(network, case["shape"], mode)
    theirs = np.array(wanted["scores"])
    assert np.linalg.norm(scores.numpy().ravel() - theirs) < BOUND * np.linalg.norm(theirs)
    assert gradients.keys() == wanted["norms"].keys()
    least = 1e-3 * max(wanted["norms"].values())
    sizes = {key: max(norm, least) * gradients[key].numel() ** 0.5
             for key, norm in wanted["norms"].items()}  # fmt: skip
    assert_products(gradients, wanted["gradients"], sizes)
    assert_products(after, wanted["running"], {key: float(after[key].abs().sum()) for key in after})
    if name == "torchvision":
        assert list(after) == list(case["shapes"])
