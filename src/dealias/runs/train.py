"""Starting and resuming a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dealias
from dealias.atomic import write_bytes
from dealias.config.compose import continued, load_recipe, recipe_from, written
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml, write_yaml
from dealias.data.catalogue import open_split
from dealias.engine.compiled import compile_denoisers
from dealias.engine.precision import allow_tf32
from dealias.errors import SettingsError
from dealias.inference.card import UNVALIDATED
from dealias.metrics.protocol import protocol_named
from dealias.models.network import Trainable
from dealias.randomness import torch_seed
from dealias.runs.beginning import Beginning
from dealias.runs.budget import Choice, choose, compare, refuse_budgets
from dealias.runs.finish import save_best
from dealias.runs.folder import SETTINGS, RunFolder, StageFolder
from dealias.runs.hooks import Hooks
from dealias.runs.jobs import Job, planned, wanted
from dealias.runs.ready import (
    final_facts,
    refuse_other_data,
    refuse_other_network,
    refuse_overlap,
    refuse_policy,
    scans_of,
)
from dealias.runs.signals import stopping
from dealias.runs.stages import run_stages, unfinished
from dealias.runs.tasks import TASKS
from dealias.scan.scan import Scan
from dealias.training.facts import environment
from dealias.training.job import TrainingJob
from dealias.training.loop import train

__all__ = ["Hooks", "resume", "start"]
Say = Callable[[str], None]


def start(
    recipe_name: str, data: Path, out: Path, overrides: list[str], device: torch.device,
    hooks: Hooks, only: str | None = None, note: str | None = None,
    begun: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:  # fmt: skip
    """Train a recipe into a new run folder.

    Args:
        recipe_name: A recipe's name or path.
        data: The data set.
        out: The run folder.
        overrides: Changes of settings.
        device: Where.
        hooks: For progress and warnings.
        only: Of a recipe with stages, the one to train: STAGE or STAGE/CELL.
        note: What the run is to show; it is kept in run.json.
        begun: Called when the folder is there, before anything is trained.

    Returns:
        Names of the stages' trainings that are left; none without stages.

    Raises:
        UserError: See training.loop.train and runs.stages; SettingsError for the recipe and the
            folder.
    """
    recipe = load_recipe(recipe_name, overrides)
    facts = {
        "dealias": dealias.__version__,
        "recipe": recipe.name,
        "overrides": overrides,
        # where the data lay, for --resume; this file is no part of a model or its export
        "data": str(data),
        **({} if note is None else {"note": note}),
        **final_facts(recipe),
    }
    if recipe.stages:
        jobs = planned(recipe, data)
        wanted(jobs, only)
        hooks.ranks.from_first(lambda: refuse_budgets(jobs, device, hooks.warn))
        if hooks.ranks.first:
            facts["stages"] = [job.name for job in jobs]
            RunFolder.create(out, facts, write_yaml(written(recipe)))
            begun()
        return _stages(RunFolder(out), recipe, jobs, device, hooks, only)
    _refuse_only(only)
    refuse_policy(recipe)
    scans = scans_of(partial(open_split, data), recipe)
    refuse_overlap(*scans)
    allow_tf32(recipe.training.tf32)
    choice = hooks.ranks.from_first(lambda: choose(recipe, scans, device, hooks.warn))
    facts |= _begun(device, hooks, choice)
    if hooks.ranks.first:
        RunFolder.create(out, facts, write_yaml(recipe.model_dump(mode="json")))
        begun()
    _run(RunFolder(out), recipe, scans, device, hooks, choice)
    return ()


def resume(
    path: Path, data: Path | None, overrides: list[str], device: torch.device, hooks: Hooks,
    only: str | None = None, note: str | None = None,
) -> tuple[str, ...]:  # fmt: skip
    """Continue a run from its newest checkpoint.

    Args:
        path: The run folder.
        data: The data set, if it lies elsewhere now.
        overrides: Changes of settings from here on; they are recorded.
        device: Where.
        hooks: For progress and warnings.
        only: As for `start`.
        note: As for `start`, in place of an earlier one.

    Returns:
        As `start`.

    Raises:
        DataError: The training data are not those the run began with.
        CheckpointError: The network's settings were changed, or no checkpoint can be used.
        UserError: See training.loop.train and runs.stages.
    """
    ranks, folder = hooks.ranks, RunFolder(path)
    # one rank reads what one rank writes
    facts, settings = ranks.from_first(
        lambda: (RunFolder.open(path).facts(), read_yaml(path / SETTINGS))
    )
    before = recipe_from(settings, [], str(path / SETTINGS))
    root = data or Path(facts["data"])
    if note is not None and ranks.first:
        folder.record(note=note)
    if before.stages:
        return _resume_stages(folder, before, root, overrides, device, hooks, only)
    _refuse_only(only)
    recipe = recipe_from(before.model_dump(mode="json"), overrides, "overrides")
    refuse_other_network(folder, before, recipe)
    refuse_policy(recipe)
    scans = scans_of(partial(open_split, root), recipe)
    earlier = facts.get("memory")
    choice = ranks.from_first(lambda: choose(recipe, scans, device, hooks.warn, earlier))
    if ranks.first:
        refuse_other_data(folder, scans[0])
        if overrides:
            (path / SETTINGS).write_text(write_yaml(recipe.model_dump(mode="json")))
        memory = choice.recorded() if choice is not None else None
        folder.record(resumed=[*facts.get("resumed", []), {"overrides": overrides}], memory=memory)
    _run(folder, recipe, scans, device, hooks, choice)
    return ()


def _resume_stages(
    folder: RunFolder, recipe: Recipe, root: Path, overrides: list[str], device: torch.device,
    hooks: Hooks, only: str | None,
) -> tuple[str, ...]:  # fmt: skip
    """Go on with stages; overrides hold in those that are not finished."""
    jobs = planned(recipe, root)
    if overrides:
        names = hooks.ranks.from_first(lambda: unfinished(folder, jobs))
        if not names:
            do = "train into a new folder"
            raise SettingsError("overrides", "a run whose stages are all finished", "", do)
        recipe = continued(recipe, overrides, {job.stage for job in jobs if job.name in names})
        jobs = planned(recipe, root)
    wanted(jobs, only)
    if overrides and hooks.ranks.first:
        write_bytes(folder.path / SETTINGS, write_yaml(written(recipe)).encode())
    return _stages(folder, recipe, jobs, device, hooks, only)


def _stages(
    run: RunFolder, recipe: Recipe, jobs: Sequence[Job], device: torch.device, hooks: Hooks,
    only: str | None,
) -> tuple[str, ...]:  # fmt: skip
    with run.telling() if hooks.ranks.first else contextlib.nullcontext():
        return run_stages(run, recipe, jobs, device, hooks, only, partial(_job, device))


def _job(
    device: torch.device, job: Job, folder: StageFolder, hooks: Hooks,
    weights: Mapping[str, Tensor] | None, made_of: dict[str, Any],
) -> None:  # fmt: skip
    """Begin or continue one training of a recipe with stages."""
    recipe, stage, ranks = job.recipe, job.settings, hooks.ranks
    source = stage.start.source if stage.start is not None else ""
    beginning = Beginning(weights, source, stage.freeze)
    allow_tf32(recipe.training.tf32)
    earlier = ranks.from_first(lambda: folder.facts() if folder.begun else {})
    memory = earlier.get("memory")
    choice = ranks.from_first(
        lambda: choose(recipe, job.scans, device, hooks.warn, memory, stage.freeze)
    )
    facts = {"dealias": dealias.__version__, "recipe": recipe.name, "stage": job.name,
             **_begun(device, hooks, choice), "made_of": made_of,
             **final_facts(recipe)}  # fmt: skip
    if earlier:
        facts["resumed"] = [*earlier["resumed"], {"settings": made_of["settings"]}]

    def prepare(network: Trainable, say: Say, log: Say) -> None:
        found = beginning(network, say, log)
        if ranks.first:
            folder.begin({**facts, **found}, write_yaml(recipe.model_dump(mode="json")))

    if ranks.first:
        folder.path.mkdir(parents=True, exist_ok=True)
    _run(folder, recipe, job.scans, device, hooks, choice, prepare, stage.pick)


def _begun(device: torch.device, hooks: Hooks, choice: Choice | None) -> dict[str, Any]:
    """What run.json says of how a training was begun."""
    return {
        "environment": environment(device, hooks.ranks.size),
        "resumed": [],
        "memory": choice.recorded() if choice is not None else None,
    }


@contextlib.contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """The folder is this process's, and keeps how the training ended."""
    with folder.locked(), folder.telling():
        yield


def _refuse_only(only: str | None) -> None:
    if only is not None:
        raise SettingsError("--only", f"'{only}'", "a recipe with stages", "leave it out")


def _run(
    folder: RunFolder, recipe: Recipe, scans: tuple[tuple[Scan, ...], tuple[Scan, ...]],
    device: torch.device, hooks: Hooks, choice: Choice | None,
    prepare: Callable[[Trainable, Say, Say], None] = lambda *told: None, pick: str = "best",
) -> None:  # fmt: skip
    recipe = choice.within(recipe) if choice is not None else recipe
    torch.manual_seed(torch_seed(recipe.training.seed, "weights"))
    network = TASKS[recipe.task].build(recipe)

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

    with _held(folder) if first else contextlib.nullcontext(), stopping() as stop:
        prepare(network, say if first else log, log)
        if choice is not None:
            say(choice.text)
        if choice is not None and choice.planned is not None:
            say(compare(recipe, network, scans[0], device, choice.planned))
        if recipe.data.use_val_for_final:
            say(f"final run: {UNVALIDATED}")
        if recipe.training.compile:
            compile_denoisers(network, device, say, warn)
        log("training")
        train(
            TrainingJob(
                network, recipe.masks, recipe.loss, recipe.optimiser, recipe.schedule,
                recipe.training, *scans, protocol_named(recipe.protocol), folder.main, device,
                lambda: stop() or hooks.stop(),
                hooks.time_limit, hooks.progress, warn, recipe.model_dump(mode="json"), memory,
                hooks.ranks, recipe.augment, TASKS[recipe.task].task(recipe),
            )
        )  # fmt: skip
        if first:
            save_best(folder, recipe, scans[0], warn, pick)
        log("finished")
