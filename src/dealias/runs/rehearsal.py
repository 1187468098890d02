"""One training step and one reconstruction, as a run makes them, on real or `meta` tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dealias.config.schema import Recipe
from dealias.data.samples import Batch, Samples, collate
from dealias.engine.allocator import taken
from dealias.engine.precision import set_precision
from dealias.models.network import Network
from dealias.physics.sampling.mask import SamplingMask
from dealias.runs.size import Size
from dealias.scan.hybrid import Hybrid
from dealias.scan.measurement import Needs, residual
from dealias.scan.scan import Scan
from dealias.training.losses import LossSettings
from dealias.training.step import batch_loss


def blank_batch(
    size: Size, needs: Needs, count: int, routes: Sequence[str] = (), area: bool = False
) -> Batch:
    """A batch without values, on `meta`.

    Args:
        size: Of its slices.
        needs: What the network asks for.
        count: Items.
        routes: Of the network: the first is as good as any.
        area: Whether the loss weighs slices by their anatomy.
    """
    encoded, width = size.hw
    start, stop = rows = needs.rows(encoded, size.target_hw[0]) if size.cached else (0, encoded)
    shape = count, needs.slices, size.coils, stop - start, width
    with torch.device("meta"):
        kspace_BSCHW = torch.empty(shape, dtype=torch.complex64)
        peaks_BSW = torch.empty(count, needs.slices, width)
        target_BHW = torch.empty(count, *size.target_hw)
        inside_BHW = torch.empty(count, *size.target_hw)
        range_B = torch.empty(count)
        area_B = torch.empty(count) if area else None
        sens_BSCHW = None
        if needs.maps == "espirit":
            sets = (needs.sets,) if needs.sets > 1 else ()
            sens_BSCHW = kspace_BSCHW.new_empty(*shape[:2], *sets, *shape[2:])
    mask = SamplingMask(np.ones(size.hw if size.two_axes else size.hw[1:], bool), (0, size.hw[1]))
    names = (("the largest slice", 0),) * count
    hybrid = Hybrid(rows, encoded, peaks_BSW) if size.cached else None
    return Batch(
        kspace_BSCHW, (mask,) * count, target_BHW, inside_BHW, range_B, names, hybrid,
        sens_BSCHW=sens_BSCHW, route=next(iter(routes), None), area_B=area_B,
    )  # fmt: skip


def inputs_of(batch: Batch) -> list[Tensor]:
    """All tensors of a batch."""
    peaks = [batch.hybrid.peaks_BSW] if batch.hybrid is not None else []
    maps = [batch.sens_BSCHW] if batch.sens_BSCHW is not None else []
    areas = [batch.area_B] if batch.area_B is not None else []
    always = [batch.kspace_BSCHW, batch.target_BHW, batch.foreground_BHW, batch.range_B]
    return [*always, *peaks, *maps, *areas]


def train_once(network: Network, batch: Batch, loss: LossSettings, device: torch.device) -> None:
    """Forward and backward of one batch by the whole loss; gradients add to what is there."""
    loss_B = batch_loss(network, batch, loss, device, loss.settled)
    loss_B.sum().backward()  # type: ignore[no-untyped-call]


def infer_once(network: Network, batch: Batch, device: torch.device) -> None:
    """What `reconstruct` does with one batch."""
    with torch.no_grad():
        measurement = batch.measurement(network.needs, device)
        estimate = network(measurement)
        measurement.window(estimate.image_BHW)
        measurement.window(measurement.zero_filled())
        residual(measurement, estimate)


def largest_batch(recipe: Recipe, network: Network, scans: Sequence[Scan]) -> Batch:
    """The first batch that a run will train on, which is its largest."""
    samples = Samples(
        tuple(scans), recipe.masks, network.needs, recipe.training.seed, recipe.loss.area
    )
    sizes, keys = samples.sizes(), samples.keys()
    first = max(range(len(sizes)), key=sizes.__getitem__)
    alike = [index for index, key in enumerate(keys) if key == keys[first]]
    chosen = alike[: recipe.training.batch_size]
    return collate([samples[0, index] for index in chosen])


def rehearse(recipe: Recipe, network: Network, scans: Sequence[Scan], device: torch.device) -> int:
    """Run the largest batch once, forward and backward, and tell the peak of memory.

    Nothing is learned from it: weights, gradients and random numbers are as before.

    Args:
        recipe: The run's.
        network: Without gradients.
        scans: For training.
        device: Where.

    Returns:
        Bytes at most, weights and batch included, as torch's allocator saw it.
    """
    batch = largest_batch(recipe, network, scans)
    before = network.training
    set_precision(network, recipe.training.precision)
    network.to(device).train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        (found,) = taken([lambda: lambda: train_once(network, batch, recipe.loss, device)], device)
    network.zero_grad(set_to_none=True)
    network.train(before)
    return found.peak + _there(network, batch, device)


def _there(network: Network, batch: Batch, device: torch.device) -> int:
    """Bytes that were there before: the weights, and on a CPU the batch as well."""
    held = [*network.parameters(), *network.buffers()]
    if device.type == "cpu":
        held += inputs_of(batch)
    return sum(one.untyped_storage().nbytes() for one in held)
