"""What is looked at before a training begins, so that it is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dealias.config.compose import difference, stage_recipes
from dealias.config.schema import Recipe
from dealias.data.augment import UNAUGMENTED
from dealias.data.augment_slices import refuse_masked
from dealias.data.narrow import refuse_cache
from dealias.data.remask import refuse_mixture
from dealias.engine.compiled import refuse_compile
from dealias.engine.precision import set_precision
from dealias.errors import CheckpointError, DataError, SettingsError
from dealias.inference.card import UNVALIDATED
from dealias.models.network import Trainable
from dealias.runs.folder import RunFolder
from dealias.runs.tasks import TASKS
from dealias.scan.scan import Scan
from dealias.training.anatomy import AnatomyTask
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.facts import manifest_of
from dealias.training.losses import loss
from dealias.training.validated import following_validation

Split = tuple[Scan, ...]


def network_without_values(recipe: Recipe) -> Trainable:
    """What a recipe trains, on `meta`."""
    with torch.device("meta"):
        return TASKS[recipe.task].build(recipe)


def refuse_policy(recipe: Recipe) -> None:
    """A policy or precision that cannot work is refused before anything is written."""
    network = network_without_values(recipe)
    recipe.memory.apply(network)
    set_precision(network, recipe.training.precision)
    if recipe.training.compile:
        refuse_compile(network, recipe.memory)


def scans_of(read: Callable[[str], Split], recipe: Recipe) -> tuple[Split, Split]:
    """Training and validation scans; what does not serve the network or augmentation is refused.

    Args:
        read: Opens one split of the data set.
        recipe: Names the splits.

    Returns:
        Both; of a final run, all scans and none.

    Raises:
        SettingsError: A final run follows the validation that it does not have.
        DataError: A scan cannot be used, or a final run would have it twice.
    """
    scans = read(recipe.data.train), read(recipe.data.val)
    if recipe.data.use_val_for_final:
        _refuse_followers(recipe)
        refuse_overlap(*scans)
        scans = (*scans[0], *scans[1]), ()
    for part, augment in zip(scans, (recipe.augment, UNAUGMENTED), strict=True):
        refuse_cache(part, TASKS[recipe.task].needs(recipe), recipe.masks, augment)
    refuse_masked(scans[0], recipe.augment)
    refuse_mixture(recipe.masks, scans[0])
    _REFUSE[recipe.task](recipe, scans)
    return scans


def _refuse_unlabelled(recipe: Recipe, scans: tuple[Split, Split]) -> None:
    """Refuse scans of which a classifier learns nothing."""
    AnatomyTask(recipe.classifier).refuse(*scans)


def _refuse_small_images(recipe: Recipe, scans: tuple[Split, Split]) -> None:
    """Refuse a loss with a term that cannot compare these images."""
    for hw in {scan.geometry.target_hw for scan in scans[0]}:
        blank_BHW, ones_B = torch.ones(1, *hw, device="meta"), torch.ones(1, device="meta")
        loss(recipe.loss, recipe.loss.settled, blank_BHW, blank_BHW, blank_BHW, ones_B, ones_B)


_REFUSE = {"reconstruction": _refuse_small_images, "anatomy": _refuse_unlabelled}


def final_facts(recipe: Recipe) -> dict[str, Any]:
    """What run.json says of a final run, or of one with such stages; nothing of any other."""
    stages = stage_recipes(recipe)
    final = [name for name, own in stages.items() if own.data.use_val_for_final]
    if stages and len(final) < len(stages):
        return {"final": f"{', '.join(final)}: {UNVALIDATED}"} if final else {}
    return {"final": UNVALIDATED} if final or recipe.data.use_val_for_final else {}


def refuse_judging_final(recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """Nothing that was trained on the validation scans may be judged by them later.

    Args:
        recipe: With stages.
        recipes: Of its stages.

    Raises:
        SettingsError: A stage goes on from a final one and would be validated, or weights of an
            ensemble with a final member would be fitted.
    """
    final = {name for name, own in recipes.items() if own.data.use_val_for_final}
    for name, stage in recipe.stages.items():
        source = stage.start.stage if stage.start is not None else None
        if source is not None and source[0] in final and name not in final:
            found = f"'{source[0]}', which was trained on the validation scans"
            do = "set data.use_val_for_final=true in this stage, too"
            raise SettingsError(f"stages.{name}.start", found, "a stage that was not", do)
    if recipe.bundle is not None and recipe.bundle.weights == "fitted":
        for name in final.intersection(recipe.bundle.ensemble):
            found = f"fitted, with '{name}', which was trained on the validation scans"
            raise SettingsError("bundle.weights", found, "numbers, or null for equal ones")


def _refuse_followers(recipe: Recipe) -> None:
    """A final run has no validation that anything could follow."""
    parts = recipe.schedule, recipe.training, recipe.augment, recipe.masks
    for name in following_validation(*parts):
        found, do = f"true beside {name}", f"set it false, or change {name}"
        expected = "settings that follow no validation: a final run has none"
        raise SettingsError("data.use_val_for_final", found, expected, do)


def refuse_unvalidated(recipe: Recipe, val_scans: Split) -> None:
    """What follows the validation needs one; a cell's training may be without.

    Raises:
        SettingsError: There are no scans for it.
    """
    parts = recipe.schedule, recipe.training, recipe.augment, recipe.masks
    if not val_scans and not recipe.data.use_val_for_final:
        for name in following_validation(*parts):
            expected = f"some, which {name} follows"
            raise SettingsError("data.val", "no scans", expected, "set data.val")


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
    """Settings may change from here on, but not the task, nor those of what is trained.

    Raises:
        CheckpointError: They do.
    """
    if before.task != after.task:
        found = f"another task ({before.task} to {after.task})"
        raise CheckpointError(f"run '{folder.path}'", found, "the same", "start a new run")
    then, now = (TASKS[one.task].settings(one) for one in (before, after))
    if then != now:
        changed = difference(then.model_dump(), now.model_dump())
        do = "start a new run for another network"
        found = f"another network ({changed})"
        raise CheckpointError(f"run '{folder.path}'", found, "the same", do)
