"""What is known of one project's weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dealias.errors import CheckpointError
from dealias.models.network import NetworkSettings

Rules = tuple[tuple[str, str | None], ...]
"""Regular expressions and what they become, applied in order; None drops the whole key."""


@dataclass(frozen=True)
class Published:
    """A kind of file of weights.

    Attributes:
        name: Of the kind, for messages and tests.
        project: Repository of the code that wrote it, owner/name.
        licence: Of that code, and unless said otherwise of its weights.
        signature: Regular expressions, each of which some key of such a file matches from its start
            to its end; no other kind's keys match all of them, but those of kinds of one signature.
            Of these, the shapes of their networks, `said`, or the user tells which it is.
        prefixes: What may stand before every key (Lightning's name of the network).
        rules: From its keys to ours.
        settings: Reads our settings from the shapes; keys are the file's, without prefix.
        said: Hyper-parameters that a Lightning checkpoint of this kind has, and no other of its
            signature.
    """

    name: str
    project: str
    licence: str
    signature: tuple[str, ...]
    prefixes: tuple[str, ...]
    rules: Rules
    settings: Callable[[Mapping[str, torch.Size]], NetworkSettings]
    said: Mapping[str, object] = field(default_factory=dict)

    def rename(self, key: str) -> str | None:
        """Our name of the file's parameter; None for what is not needed here."""
        return renamed(key, self.rules)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The file's parameters by our names; what is not needed here is left out.

        Raises:
            CheckpointError: Two of one name here differ.
        """
        converted: dict[str, Tensor] = {}
        for key, value in state.items():
            name = self.rename(key)
            if name is None:
                continue
            if name in converted and not torch.equal(converted[name], value):
                raise CheckpointError(key, "another value than its twins", "one for all")
            converted[name] = value
        return converted


def renamed(key: str, rules: Rules) -> str | None:
    """Apply rules to a key; None where one drops it."""
    for pattern, ours in rules:
        if ours is None:
            if re.search(pattern, key):
                return None
        else:
            key = re.sub(pattern, ours, key)
    return key
