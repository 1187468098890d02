"""The eight networks that sMaRtIfy collected in one file for the challenge's last evaluation.

Four experts for masks of the challenge's own rule ("hacker"), four for any other ("helper"), each
under four names. Their code has one activation in common between all networks of a process, so that
in the collected file all eight have that of the one which was loaded last; where there are files of
the single experts, those have their own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dealias.errors import CheckpointError
from dealias.models.mixture import ExpertsSettings
from dealias.models.published.promptmr import SMARTIFY
from dealias.models.published.source import Published, Rules, renamed

TEAMS = ("hacker", "helper")
"""For masks of the challenge's rule, and for others."""
CELLS = ("brain_acc4", "brain_acc8", "knee_acc4", "knee_acc8")
RULES: Rules = (
    *((rf"^broker_friends\.{number}\.", f"{team}.") for number, team in enumerate(TEAMS)),
    *((rf"^(\w+)\.experts\.{number}\.", rf"\1.{cell}.") for number, cell in enumerate(CELLS)),
    (r"^(hacker|helper)\.(brain|knee)_acc([48])\.", r"\1-\2-x\3."),
)
"""From each of an expert's names to one, such as hacker-brain-x4."""
_EXPERT = re.compile(r"((?:hacker|helper)-(?:brain|knee)-x[48])\.(.*)")


@dataclass(frozen=True)
class Collected(Published):
    """Experts in one file; each one's own keys are those of sMaRtIfy's single networks."""

    def rename(self, key: str) -> str | None:
        """Our name of the file's parameter; None for what is not needed here."""
        expert, inside = _split(key)
        name = SMARTIFY.rename(inside)
        return None if name is None else f"members.{expert}.{name}"


def _split(key: str) -> tuple[str, str]:
    """An expert's name, and the key inside it."""
    found = _EXPERT.fullmatch(renamed(key, RULES) or "")
    if found is None:
        raise CheckpointError(key, "a key of no expert", "keys such as hacker.brain_acc4.*")
    return found[1], found[2]


def _settings(shapes: Mapping[str, torch.Size]) -> ExpertsSettings:
    inside: dict[str, dict[str, torch.Size]] = defaultdict(dict)
    for key, shape in shapes.items():
        expert, rest = _split(key)
        inside[expert][rest] = shape
    members = {expert: SMARTIFY.settings(inside[expert]) for expert in sorted(inside)}
    return ExpertsSettings.model_validate({"members": members})


SMARTIFY_EXPERTS = Collected(
    name="smartify-experts",
    project=SMARTIFY.project,
    licence=SMARTIFY.licence,
    signature=tuple(
        rf"{team}\.{cell}\.sens_net_ckp\._dummy_tensor" for team in TEAMS for cell in CELLS
    ),
    prefixes=(),
    rules=RULES,
    settings=_settings,
)
