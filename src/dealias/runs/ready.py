"""What is looked at before a training begins, so that it is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dealias.config.compose import difference
from dealias.config.schema import Recipe
from dealias.data.augment import UNAUGMENTED
from dealias.data.augment_slices import refuse_masked
from dealias.data.narrow import refuse_cache
from dealias.engine.compiled import refuse_compile
from dealias.errors import CheckpointError, DataError
from dealias.models.network import Network
from dealias.models.table import build_network
from dealias.runs.folder import RunFolder
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.facts import manifest_of

Split = tuple[Scan, ...]


def network_without_values(recipe: Recipe) -> Network:
    """A recipe's network on `meta`."""
    with torch.device("meta"):
        return build_network(recipe.network)


def refuse_policy(recipe: Recipe) -> None:
    """A policy that cannot work is refused before anything is written."""
    network = network_without_values(recipe)
    recipe.memory.apply(network)
    if recipe.training.compile:
        refuse_compile(network, recipe.memory)


def scans_of(read: Callable[[str], Split], recipe: Recipe) -> tuple[Split, Split]:
    """Training and validation scans; what does not serve the network or augmentation is refused.

    Args:
        read: Opens one split of the data set.
        recipe: Names the splits.
    """
    scans = read(recipe.data.train), read(recipe.data.val)
    for part, augment in zip(scans, (recipe.augment, UNAUGMENTED), strict=True):
        refuse_cache(part, Needs(readout_crop=recipe.network.readout_crop), recipe.masks, augment)
    refuse_masked(scans[0], recipe.augment)
    return scans


def refuse_overlap(train_scans: Split, val_scans: Split) -> None:
    """A scan that is trained on cannot validate.

    Raises:
        DataError: One is in both.
    """
    known = {scan.id: scan.name for scan in train_scans}
    for scan in val_scans:
        if scan.id in known:
            found = f"the same scan as {known[scan.id]} of the training set"
            raise DataError(scan.name, found, "other scans for validation", "set data.val")


def refuse_other_data(folder: RunFolder, scans: Split) -> None:
    """Training data must be those that the newest checkpoint was trained on.

    Raises:
        DataError: They are not; the message names files.
    """
    latest = Checkpoints(folder.main / "checkpoints", 2, lambda text: None).path("latest")
    if latest is None:
        return
    try:
        _, manifest = read_checkpoint(latest)
    except CheckpointError:
        return  # the loop will say so, loudly, and look for an earlier one
    then = {(one["name"], one["id"]) for one in manifest["data"]}
    now = {(one["name"], one["id"]) for one in manifest_of(scans)}
    if then != now:
        names = sorted({name for name, _ in then ^ now})
        found = f"training data that changed: {', '.join(names[:5])}"
        do = "restore it, or start a new run"
        raise DataError(f"run '{folder.path}'", found, "the data the run began with", do)


def refuse_other_network(folder: RunFolder, before: Recipe, after: Recipe) -> None:
    """Settings may change from here on, but not the network's.

    Raises:
        CheckpointError: They do.
    """
    if before.network != after.network:
        changed = difference(before.network.model_dump(), after.network.model_dump())
        do = "start a new run for another network"
        found = f"another network ({changed})"
        raise CheckpointError(f"run '{folder.path}'", found, "the same", do)
