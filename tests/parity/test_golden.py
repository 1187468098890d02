"""Every network computes what the code it was published in printed: image and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

import golden
from dealias.models.published.table import PUBLISHED
from dealias.models.settings import AnySettings
from dealias.models.table import build_network

BOUND = 1e-10
NAMES = sorted(path.stem for path in golden.FOLDER.glob("*.json"))


def test_there_are_golden_files() -> None:
    assert "fastmri-varnet" in NAMES


LARGE = ("dircn-2022-attention-plain", "dircn-2022-unet-plain")
"""Variants of networks that take one size alone, and that a large one."""


def marked(name: str) -> object:
    """Published sizes take minutes."""
    slow = name.endswith("-published") or name in LARGE
    return pytest.param(name, marks=pytest.mark.slow) if slow else name


@pytest.mark.parametrize("name", [marked(name) for name in NAMES])
def test_image_and_gradients_are_the_published_ones(name: str) -> None:
    case = golden.read(name)
    published = PUBLISHED[case["published"]]
    network = build_network(TypeAdapter(AnySettings).validate_python(case["settings"])).double()
    network.load_state_dict(published.convert(golden.weights(case["shapes"])))
    image = golden.image(network, case)
    numbers, wanted = (np.array(one) for one in (golden.sampled(image), case["image"]))
    assert np.linalg.norm(numbers - wanted) < BOUND * np.linalg.norm(wanted)
    found = golden.gradients(network, image)
    largest = max(case["norms"].values())
    products = golden.products({key: found[key] for key in case["gradients"]})
    for key, product in case["gradients"].items():
        size = max(case["norms"][key], 1e-3 * largest) * found[key].numel() ** 0.5
        assert abs(products[key] - product) < BOUND * size, key
