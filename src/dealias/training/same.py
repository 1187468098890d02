"""What must be the same on every rank, and when a run goes on."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from dealias.engine.ranks import Ranks
from dealias.errors import DataError, HealthError, SettingsError
from dealias.training.accumulation import Pairs, accumulation_of, changed, numbers
from dealias.training.settings import TrainingSettings

_SAME = "the same everywhere"


def refuse_another_step(training: TrainingSettings, size: int, manifest: dict[str, Any]) -> None:
    """Another number of ranks must not make steps of another size unasked.

    Args:
        training: Settings now.
        size: Ranks now.
        manifest: Of the checkpoint to go on from.

    Raises:
        SettingsError: A step would be of more or fewer batches than it was.
    """
    recorded = manifest.get("settings", {}).get("training", {}).get("accumulation")
    ranks = manifest.get("environment", {}).get("world size", 1)
    if recorded is None or ranks == size:
        return
    then = accumulation_of(recorded)
    if then != training.accumulation:
        return  # as it was asked for
    found = f"{size} of {_said(then)} batches a step each, where there were {ranks}"
    whole = not any(number * ranks % size for number in numbers(then))
    kept = _said(changed(then, lambda number: number * ranks // size))
    keep = f"training.accumulation={kept} keeps the step" if whole else f"start {ranks} ranks"
    do = f"{keep}; another training.accumulation changes it knowingly"
    raise SettingsError("ranks", found, "steps as large as before", do)


def _said(accumulation: int | Pairs) -> str:
    """As it is typed."""
    if isinstance(accumulation, int):
        return str(accumulation)
    return f"[{','.join(f'[{epoch},{number}]' for epoch, number in accumulation)}]"


def refuse_different_ranks(ranks: Ranks, data: object, settings: object) -> None:
    """What each rank was given and reads by itself.

    Args:
        ranks: All of them.
        data: Names and contents of the training scans.
        settings: Of the run.

    Raises:
        DataError: Some rank trains on other data.
        SettingsError: Some rank was started with other settings.
    """
    odd = ranks.odd(lambda: data)
    if odd:
        do = "give every machine the same files"
        raise DataError("training data", _others(odd), _SAME, do)
    odd = ranks.odd(lambda: settings)
    if odd:
        raise SettingsError("settings", _others(odd), _SAME, "give every rank the same command")


def refuse_different_weights(ranks: Ranks, network: nn.Module) -> None:
    """Every rank steps by itself, from the same weights along the same gradient.

    Raises:
        HealthError: They have come apart.
    """
    odd = ranks.odd(lambda: _digest(network))
    if odd:
        do = "use one kind of device and one torch for all ranks, then resume the run"
        raise HealthError("weights", _others(odd), _SAME, do)


def _others(odd: list[int]) -> str:
    return f"others on rank {', '.join(map(str, odd))} than on rank 0"


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
