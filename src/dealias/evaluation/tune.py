"""Choosing a classical method's settings per cell on validation data, never on test data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from dealias.errors import DataError
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import ScoringProtocol
from dealias.scan.measurement import Reconstructor
from dealias.scan.scan import Cell, Scan

Candidate = tuple[Any, ...]


def tune(
    make: Callable[..., Reconstructor],
    candidates: Sequence[Candidate],
    scans: Sequence[Scan],
    protocol: ScoringProtocol,
    device: torch.device,
    progress: Callable[[], None] = lambda: None,
) -> Mapping[Cell, Candidate]:
    """The candidate with the best mean SSIM in each cell.

    Args:
        make: Makes the method from a candidate's values.
        candidates: The settings to try.
        scans: Validation scans, each with a cell.
        protocol: How they are scored.
        device: Where to reconstruct.
        progress: Called after each reconstruction.

    Returns:
        Best candidate by cell.

    Raises:
        DataError: A scan has no cell.
    """
    ssim: dict[tuple[Cell, Candidate], list[float]] = defaultdict(list)
    for scan in scans:
        if scan.cell is None:
            raise DataError(scan.name, "no anatomy or acceleration", "both", "name them in attrs")
        for candidate in candidates:
            image_ZHW = reconstruct(make(*candidate), scan, device=device).image_ZHW
            slices = protocol.score(image_ZHW, scan).slices
            ssim[scan.cell, candidate] += [one.ssim for one in slices if one.ssim is not None]
            progress()
    cells = {cell for cell, _ in ssim}
    return {cell: max(candidates, key=lambda c: _mean(ssim[cell, c])) for cell in sorted(cells)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("-inf")
