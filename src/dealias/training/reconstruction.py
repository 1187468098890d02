"""Reconstruction as a task: validation by the very protocol that will score the run."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dealias.data.remask import MaskSettings, validation_mask
from dealias.data.samples import Batch
from dealias.engine.ranks import Ranks
from dealias.errors import DataError
from dealias.evaluation.aggregate import volume_mean
from dealias.evaluation.scores import summarise
from dealias.inference.reconstruct import Reconstruction, reconstruct
from dealias.metrics.protocol import ScoringProtocol
from dealias.metrics.scores import VolumeScores
from dealias.models.network import Trainable
from dealias.scan.scan import Scan
from dealias.training.losses import LossSettings, loss
from dealias.training.stops import Stops
from dealias.training.task import Validation, judging, poll, this_ranks

SHOWN = 24
"""Worst slices kept for the report."""


@dataclass(frozen=True)
class ReconstructionTask:
    """Images close to their targets.

    Attributes:
        settings: Of the loss.
        protocol: By which the run is validated.
    """

    settings: LossSettings
    protocol: ScoringProtocol

    @property
    def area(self) -> bool:
        """Whether the loss counts samples by how much anatomy they show."""
        return self.settings.area

    def loss(self, network: Trainable, batch: Batch, device: torch.device, epoch: int) -> Tensor:
        """See `Task`."""
        return batch_loss(network, batch, self.settings, device, epoch)

    def validate(
        self, network: Trainable, scans: Sequence[Scan], masks: MaskSettings, seed: int,
        device: torch.device, stops: Stops,
    ) -> Validation:  # fmt: skip
        """See `Task`."""
        return validate(network, scans, self.protocol, masks, seed, device, stops)


def batch_loss(
    network: Trainable, batch: Batch, settings: LossSettings, device: torch.device, epoch: int
) -> Tensor:
    """The loss of each item of a batch, (B,), from k-space on; on `meta` as well.

    Args:
        network: In training mode, on the device.
        batch: Anywhere.
        settings: Which loss.
        device: Where.
        epoch: Of the run.
    """
    measurement = batch.measurement(network.needs, device)
    image_BHW = measurement.window(network(measurement).image_BHW)
    area_B = batch.area_B.to(device) if batch.area_B is not None else None
    return loss(
        settings,
        epoch,
        image_BHW,
        batch.target_BHW.to(device),
        batch.foreground_BHW.to(device),
        batch.range_B.to(device),
        area_B,
    )


def validate(
    network: Trainable,
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
    with judging(network, stops):
        for index, scan in this_ranks(scans, stops):
            mask = validation_mask(masks, scan, seed, index)
            result = reconstruct(network, scan, device, mask, progress=lambda _: poll(stops))
            part.add(index, scan, result, protocol.score(result.image_ZHW, scan))
    return _joined(part, protocol, stops.ranks)


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
    # by volume, so that two epochs can be compared in pairs
    means = [volume_mean(volume) for volume in ordered if volume.ssim]
    return Validation(
        summarise(protocol, ordered), [entry[3] for entry in entries], more={"volumes": means}
    )


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
