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
from dealias.models.network import Trainable
from dealias.physics.sampling.mask import SamplingMask
from dealias.runs.size import Size
from dealias.runs.tasks import TASKS
from dealias.scan.hybrid import Hybrid
from dealias.scan.measurement import Estimate, Needs, residual
from dealias.scan.scan import Scan
from dealias.training.losses import LossSettings
from dealias.training.reconstruction import batch_loss
from dealias.training.running import RunningMeans


def blank_batch(
    size: Size, needs: Needs, count: int, routes: Sequence[str] = (), area: bool = False,
    anatomy: str | None = None,
) -> Batch:  # fmt: skip
    """A batch without values, on `meta`.

    Args:
        size: Of its slices.
        needs: What the network asks for.
        count: Items.
        routes: Of the network: the first is as good as any.
        area: Whether the loss weighs slices by their anatomy.
        anatomy: Of each slice, where the loss asks for it.
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
        anatomies=(anatomy,) * count,
    )  # fmt: skip


def inputs_of(batch: Batch) -> list[Tensor]:
    """All tensors of a batch."""
    peaks = [batch.hybrid.peaks_BSW] if batch.hybrid is not None else []
    maps = [batch.sens_BSCHW] if batch.sens_BSCHW is not None else []
    areas = [batch.area_B] if batch.area_B is not None else []
    always = [batch.kspace_BSCHW, batch.target_BHW, batch.foreground_BHW, batch.range_B]
    return [*always, *peaks, *maps, *areas]


def train_once(network: Trainable, batch: Batch, loss: LossSettings, device: torch.device) -> None:
    """Forward and backward of one batch by the whole loss; gradients add to what is there."""
    loss_B = batch_loss(network, batch, loss, device, loss.settled)
    loss_B.sum().backward()  # type: ignore[no-untyped-call]


def learn_once(network: Trainable, batch: Batch, recipe: Recipe, device: torch.device) -> None:
    """The same for a recipe of any task."""
    task = TASKS[recipe.task].task(recipe)
    if task is None:
        train_once(network, batch, recipe.loss, device)
    else:
        task.loss(network, batch, device, 0).sum().backward()  # type: ignore[no-untyped-call]


def infer_once(network: Trainable, batch: Batch, device: torch.device) -> None:
    """What `reconstruct` does with one batch, or a classifier."""
    with torch.no_grad():
        measurement = batch.measurement(network.needs, device)
        estimate = network(measurement)
        if not isinstance(estimate, Estimate):
            return
        measurement.window(estimate.image_BHW)
        measurement.window(measurement.zero_filled())
        residual(measurement, estimate)


def largest_batch(recipe: Recipe, network: Trainable, scans: Sequence[Scan]) -> Batch:
    """The first batch that a run will train on, which is its largest."""
    task = TASKS[recipe.task].task(recipe)
    area = recipe.loss.area if task is None else task.area
    samples = Samples(tuple(scans), recipe.masks, network.needs, recipe.training.seed, area)
    sizes, keys = samples.sizes(), samples.keys()
    first = max(range(len(sizes)), key=sizes.__getitem__)
    alike = [index for index, key in enumerate(keys) if key == keys[first]]
    chosen = alike[: recipe.training.batch_size]
    return collate([samples[0, index] for index in chosen])


def rehearse(
    recipe: Recipe, network: Trainable, scans: Sequence[Scan], device: torch.device
) -> int:
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
    generators = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with generators, RunningMeans(network).undone():
        (found,) = taken([lambda: lambda: learn_once(network, batch, recipe, device)], device)
    network.zero_grad(set_to_none=True)
    network.train(before)
    return found.peak + _there(network, batch, device)


def _there(network: Trainable, batch: Batch, device: torch.device) -> int:
    """Bytes that were there before: the weights, and on a CPU the batch as well."""
    held = [*network.parameters(), *network.buffers()]
    if device.type == "cpu":
        held += inputs_of(batch)
    return sum(one.untyped_storage().nbytes() for one in held)
