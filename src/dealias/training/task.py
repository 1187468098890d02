"""Reconstruction as a task: validation by the very protocol that will score the run."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dealias.atomic import replacing, write_json
from dealias.data.remask import MaskSettings, validation_mask
from dealias.engine.ranks import Ranks
from dealias.errors import DataError
from dealias.evaluation.scores import Scores, summarise
from dealias.faults import fault
from dealias.inference.reconstruct import Reconstruction, reconstruct
from dealias.metrics.protocol import ScoringProtocol
from dealias.metrics.scores import VolumeScores
from dealias.models.network import Network
from dealias.scan.scan import Scan
from dealias.training.stops import Stops

SHOWN = 24
"""Worst slices kept for the report."""


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        scores: By the run's protocol.
        worst: Worst slices first: (facts, zero-filled, reconstruction, reference).
    """

    scores: Scores
    worst: list[tuple[dict[str, Any], Any, Any, Any]]


def validate(
    network: Network,
    scans: Sequence[Scan],
    protocol: ScoringProtocol,
    masks: MaskSettings,
    seed: int,
    device: torch.device,
    stops: Stops | None = None,
) -> Validation:
    """Reconstruct and score all validation scans, each on one rank.

    Args:
        network: Its mode is restored afterwards.
        scans: With targets. Each is seen through its own mask; one without is masked by the
            recipe's kind of masks, by the same draw every time.
        protocol: The run's.
        masks: For scans without a mask.
        seed: The run's.
        device: Where the network is.
        stops: Asked after each slice; knows the ranks.

    Returns:
        Scores and the worst slices, the same on every rank and for any number of them.

    Raises:
        DataError: A scan has no target, or cannot be scored.
        Stopped: As asked.
        Broken: A rank has left.
    """
    stops = stops or Stops()
    part = _Part()
    training = network.training
    network.eval()
    try:
        with stops.everywhere():
            for index in stops.ranks.deal([_cost(scan) for scan in scans]):
                scan = scans[index]
                mask = validation_mask(masks, scan, seed, index)
                result = reconstruct(network, scan, device, mask, progress=lambda _: _poll(stops))
                part.add(index, scan, result, protocol.score(result.image_ZHW, scan))
    finally:
        network.train(training)
    return _joined(part, protocol, stops.ranks)


def _poll(stops: Stops) -> None:
    fault("validation")
    stops.here()


def _cost(scan: Scan) -> int:
    return math.prod(scan.shape)


class _Part:
    """What one rank found: scores by the scan's index, and its worst slices by place."""

    def __init__(self) -> None:
        self.volumes: dict[int, VolumeScores] = {}
        self.worst: list[tuple[float, int, int, Any]] = []

    def add(self, index: int, scan: Scan, result: Reconstruction, volume: VolumeScores) -> None:
        self.volumes[index] = volume
        for one in volume.slices:
            if one.ssim is not None:
                entry = (-one.ssim, index, one.z, _example(scan, result, one.z, one.ssim))
                push = heapq.heappush if len(self.worst) < SHOWN else heapq.heappushpop
                push(self.worst, entry)


def _joined(part: _Part, protocol: ScoringProtocol, ranks: Ranks) -> Validation:
    """All ranks' parts, in the order that one rank would have found them in."""
    volumes: dict[int, VolumeScores] = {}
    for found in ranks.gather(part.volumes):
        volumes |= found
    ordered = [volumes[index] for index in sorted(volumes)]
    # places first, so that only the pictures that will be shown travel
    places = [place for found in ranks.gather([e[:3] for e in part.worst]) for place in found]
    shown = set(sorted(places, reverse=True)[:SHOWN])
    kept = [entry for entry in part.worst if entry[:3] in shown]
    entries = [entry for found in ranks.gather(kept) for entry in found]
    entries.sort(key=lambda entry: entry[:3], reverse=True)
    return Validation(summarise(protocol, ordered), [entry[3] for entry in entries])


def write_examples(folder: Path, validation: Validation) -> None:
    """Write examples.npz and examples.json for the report."""
    facts = [one[0] for one in validation.worst]
    kinds = ("zero_filled", "reconstruction", "reference")
    shapes = {one[3].shape for one in validation.worst}
    if len(shapes) > 1:
        # volumes of several target sizes: pad to the largest, as pictures only
        largest = tuple(np.max(list(shapes), axis=0))
        images = [[_padded(one[i + 1], largest) for one in validation.worst] for i in range(3)]
    else:
        images = [[one[i + 1] for one in validation.worst] for i in range(3)]
    pairs = zip(kinds, images, strict=True)
    arrays: dict[str, Any] = {f"{kind}_NHW": np.stack(part) for kind, part in pairs}
    with replacing(folder / "examples.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    write_json(folder / "examples.json", facts)


def _example(
    scan: Scan, result: Reconstruction, z: int, ssim: float
) -> tuple[dict[str, Any], Any, Any, Any]:
    target_ZHW = scan.target(z)
    if target_ZHW is None:
        raise DataError(scan.name, "no target image", "a target to score against", "")
    facts = {
        "name": scan.name,
        "z": z,
        "cell": str(scan.cell) if scan.cell else None,
        "ssim": ssim,
        "residual": None if result.residual_Z is None else float(result.residual_Z[z]),
        "data_range": scan.data_range,
    }
    return facts, result.zero_filled_ZHW[z], result.image_ZHW[z], target_ZHW[0]


def _padded(image: Any, shape: tuple[int, ...]) -> Any:
    extra = [(0, size - have) for size, have in zip(shape, image.shape, strict=True)]
    return np.pad(image, extra)
