"""Starting and resuming a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import dealias
from dealias.config.compose import load_recipe, recipe_from
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml, write_yaml
from dealias.data.catalogue import open_split
from dealias.data.narrow import refuse_cache
from dealias.engine.compiled import compile_denoisers, refuse_compile
from dealias.engine.precision import allow_tf32
from dealias.engine.ranks import ALONE, Ranks
from dealias.errors import CheckpointError, DataError
from dealias.metrics.protocol import protocol_named
from dealias.models.table import build_network
from dealias.randomness import torch_seed
from dealias.runs.budget import Choice, choose, compare
from dealias.runs.finish import save_best
from dealias.runs.folder import SETTINGS, RunFolder
from dealias.runs.signals import stopping
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.loop import Progress, TrainingJob, environment, manifest_of, train


@dataclass(frozen=True)
class Hooks:
    """How a run talks to whoever started it.

    Attributes:
        progress: Told of every step.
        warn: Told of everything that is not as it should be.
        say: Told what the run chose by itself.
        time_limit: Seconds, or None.
        ranks: Which train together; the first one alone calls the functions.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    warn: Callable[[str], None] = lambda text: None
    say: Callable[[str], None] = lambda text: None
    time_limit: float | None = None
    ranks: Ranks = ALONE


def start(
    recipe_name: str, data: Path, out: Path, overrides: list[str], device: torch.device,
    hooks: Hooks,
) -> None:  # fmt: skip
    """Train a recipe into a new run folder.

    Args:
        recipe_name: A recipe's name or path.
        data: The data set.
        out: The run folder.
        overrides: Changes of settings.
        device: Where.
        hooks: For progress and warnings.

    Raises:
        UserError: See training.loop.train; SettingsError for the recipe and the folder.
    """
    recipe = load_recipe(recipe_name, overrides)
    _refuse_policy(recipe)
    scans = _scans(data, recipe)
    _no_overlap(*scans)
    allow_tf32(recipe.training.tf32)
    choice = hooks.ranks.from_first(lambda: choose(recipe, scans, device, hooks.warn))
    facts = {
        "dealias": dealias.__version__,
        "recipe": recipe.name,
        "overrides": overrides,
        # where the data lay, for --resume; this file is no part of a model or its export
        "data": str(data),
        "environment": environment(device, hooks.ranks.size),
        "resumed": [],
        "memory": choice.recorded() if choice is not None else None,
    }
    if hooks.ranks.first:
        RunFolder.create(out, facts, write_yaml(recipe.model_dump(mode="json")))
    _run(RunFolder(out), recipe, scans, device, hooks, choice)


def resume(
    path: Path, data: Path | None, overrides: list[str], device: torch.device, hooks: Hooks
) -> None:
    """Continue a run from its newest checkpoint.

    Args:
        path: The run folder.
        data: The data set, if it lies elsewhere now.
        overrides: Changes of settings from here on; they are recorded.
        device: Where.
        hooks: For progress and warnings.

    Raises:
        DataError: The training data are not those the run began with.
        CheckpointError: The network's settings were changed, or no checkpoint can be used.
        UserError: See training.loop.train.
    """
    ranks, folder = hooks.ranks, RunFolder(path)
    # one rank reads what one rank writes
    facts, settings = ranks.from_first(
        lambda: (RunFolder.open(path).facts(), read_yaml(path / SETTINGS))
    )
    before = recipe_from(settings, [], str(path / SETTINGS))
    recipe = recipe_from(before.model_dump(mode="json"), overrides, "overrides")
    if recipe.network != before.network:
        changed = _difference(before.network.model_dump(), recipe.network.model_dump())
        do = "start a new run for another network"
        raise CheckpointError(f"run '{path}'", f"another network ({changed})", "the same", do)
    _refuse_policy(recipe)
    root = data or Path(facts["data"])
    scans = _scans(root, recipe)
    earlier = facts.get("memory")
    choice = ranks.from_first(lambda: choose(recipe, scans, device, hooks.warn, earlier))
    if ranks.first:
        _same_data(folder, scans[0])
        if overrides:
            (path / SETTINGS).write_text(write_yaml(recipe.model_dump(mode="json")))
        memory = choice.recorded() if choice is not None else None
        folder.record(resumed=[*facts.get("resumed", []), {"overrides": overrides}], memory=memory)
    _run(folder, recipe, scans, device, hooks, choice)


def _run(
    folder: RunFolder, recipe: Recipe, scans: tuple[tuple[Scan, ...], tuple[Scan, ...]],
    device: torch.device, hooks: Hooks, choice: Choice | None,
) -> None:  # fmt: skip
    recipe = choice.within(recipe) if choice is not None else recipe
    torch.manual_seed(torch_seed(recipe.training.seed, "weights"))
    network = build_network(recipe.network)

    first = hooks.ranks.first
    log = folder.log if first else lambda text: None

    def warn(text: str) -> None:
        log(f"warning: {text}")
        hooks.warn(text)

    def say(text: str) -> None:
        log(text)
        hooks.say(text)

    memory = recipe.memory.on(device, warn)
    memory.apply(network)

    with folder.locked() if first else contextlib.nullcontext(), stopping() as stop:
        if choice is not None:
            say(choice.text)
        if choice is not None and choice.planned is not None:
            say(compare(recipe, network, scans[0], device, choice.planned))
        if recipe.training.compile:
            compile_denoisers(network, device, say, warn)
        log("training")
        train(
            TrainingJob(
                network, recipe.masks, recipe.loss, recipe.optimiser, recipe.schedule,
                recipe.training, *scans, protocol_named(recipe.protocol), folder.main, device, stop,
                hooks.time_limit, hooks.progress, warn, recipe.model_dump(mode="json"), memory,
                hooks.ranks,
            )
        )  # fmt: skip
        if first:
            save_best(folder, recipe, scans[0], warn)
        log("finished")


def _refuse_policy(recipe: Recipe) -> None:
    """A policy that cannot work is refused before anything is written."""
    with torch.device("meta"):
        network = build_network(recipe.network)
    recipe.memory.apply(network)
    if recipe.training.compile:
        refuse_compile(network, recipe.memory)


def _scans(root: Path, recipe: Recipe) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Training and validation scans; a cache that does not serve the network is refused here."""
    scans = open_split(root, recipe.data.train), open_split(root, recipe.data.val)
    for part in scans:
        refuse_cache(part, Needs(readout_crop=recipe.network.readout_crop), recipe.masks)
    return scans


def _no_overlap(train_scans: tuple[Scan, ...], val_scans: tuple[Scan, ...]) -> None:
    """A scan that is trained on cannot validate."""
    known = {scan.id: scan.name for scan in train_scans}
    for scan in val_scans:
        if scan.id in known:
            found = f"the same scan as {known[scan.id]} of the training set"
            raise DataError(scan.name, found, "other scans for validation", "set data.val")


def _same_data(folder: RunFolder, scans: tuple[Scan, ...]) -> None:
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


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    keys = sorted(set(before) | set(after))
    changed = [key for key in keys if before.get(key) != after.get(key)]
    return ", ".join(f"{key}: {before.get(key)} to {after.get(key)}" for key in changed)
