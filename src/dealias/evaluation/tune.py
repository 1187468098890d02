"""Choosing a classical method's settings on validation data, never on test data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch

from dealias.classical.table import Method
from dealias.errors import SettingsError
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import ScoringProtocol
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Scan

Group = TypeVar("Group", bound=Hashable)
Settings = dict[str, float]


def tune(
    method: Method,
    scans: Sequence[Scan],
    group_of: Callable[[Scan], Group],
    protocol: ScoringProtocol,
    device: torch.device,
    mask: Callable[[Scan], SamplingMask | None] = lambda scan: None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[Group, Settings]:
    """The settings of a method's grid with the best mean SSIM in each group of scans.

    Args:
        method: With a grid.
        scans: Validation scans with targets.
        group_of: What belongs together: a cell, an acceleration.
        protocol: How they are scored.
        device: Where to reconstruct.
        mask: Gives the mask to use in place of a scan's own, or None.
        progress: Called with 1 after each reconstruction.

    Returns:
        Settings by group.

    Raises:
        SettingsError: The method has nothing to tune.
        DataError: A scan has no target, or cannot be scored.
    """
    if not method.grid:
        raise SettingsError(method.name, "nothing to tune", "a method with settings", "")
    candidates = method.candidates()
    ssim: dict[Group, list[list[float]]] = defaultdict(lambda: [[] for _ in candidates])
    for scan in scans:
        for index, settings in enumerate(candidates):
            made = method.build(**settings)
            image_ZHW = reconstruct(made, scan, device=device, mask=mask(scan)).image_ZHW
            slices = protocol.score(image_ZHW, scan).slices
            ssim[group_of(scan)][index] += [one.ssim for one in slices if one.ssim is not None]
            progress(1)
    return {
        group: candidates[max(range(len(candidates)), key=lambda index: _mean(found[index]))]
        for group, found in ssim.items()
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("-inf")
