"""sMaRtIfy's classifier of anatomies: ResNet-50 with keys of its own, and with biases.

Each convolution of its blocks has a bias, which the batch norm behind it takes away again: in
training with the batch's mean, later with the running one. So the network with each bias taken off
its running mean, and without it, is the same function in both modes, and the plain ResNet-50.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from dealias.errors import CheckpointError
from dealias.models.published.source import Rules, renamed
from dealias.models.resnet import ResNetSettings

PROJECT, LICENCE = "sMartify-fastmri/2025_final", "none given"
CLASSES = ("brain", "knee")
"""What its two scores are of, in order."""
SIGNATURE = (
    r"batch_norm1\.weight", r"layer1\.0\.conv1\.bias", r"layer4\.2\.batch_norm3\.running_mean",
    r"layer1\.0\.i_downsample\.0\.bias", r"fc\.weight",
)  # fmt: skip
"""Regular expressions, each of which some key of such a file matches from its start to its end."""
RULES: Rules = (
    (r"\bbatch_norm(\d)\.", r"bn\1."),
    (r"\bi_downsample\.", "downsample."),
)
TAKEN_OFF: Rules = (
    (r"\bconv(\d)\.bias$", r"bn\1.running_mean"),
    (r"\bdownsample\.0\.bias$", "downsample.1.running_mean"),
)
"""From a convolution's bias to the running mean behind it."""


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has such keys."""
    return not _missing(state)


def place(key: str) -> str:
    """Our name of what the numbers of a key go into: the running mean behind it, of such biases."""
    return renamed(renamed(key, RULES) or key, TAKEN_OFF) or key


def is_taken_off(key: str) -> bool:
    """Whether a key is a bias in front of a batch norm."""
    return place(key) != renamed(key, RULES)


def read_classifier(state: Mapping[str, Tensor]) -> tuple[ResNetSettings, dict[str, Tensor]]:
    """The settings and weights of our ResNet-50 that computes what theirs does.

    Args:
        state: Their state dict.

    Returns:
        Settings, and weights by torchvision's names in the precision of theirs.

    Raises:
        CheckpointError: It is no such state dict.
    """
    if missing := _missing(state):
        where = missing[0].replace("\\", "")
        raise CheckpointError("classifier", f"no '{where}'", "weights of sMaRtIfy's ResNet-50")
    named = {renamed(key, RULES) or key: one for key, one in state.items()}
    weights = dict(named)
    for name in named:
        mean = renamed(name, TAKEN_OFF) or name
        if mean != name:
            # in double precision: a large bias may all but cancel a large mean
            less = named[mean].double() - weights.pop(name).double()
            weights[mean] = less.to(named[mean].dtype)
    first, last = named["conv1.weight"].shape, named["fc.weight"].shape
    return ResNetSettings(in_channels=first[1], classes=last[0]), weights


def _missing(state: Mapping[str, Tensor]) -> list[str]:
    return [one for one in SIGNATURE if not any(re.fullmatch(one, key) for key in state)]
