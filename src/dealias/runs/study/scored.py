"""Scores of what a run, a model or a folder of images makes of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dealias.config.compose import recipe_from, stage_recipes
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml
from dealias.data.catalogue import open_data
from dealias.data.remask import validation_mask
from dealias.errors import SettingsError
from dealias.evaluation.evaluate import evaluate
from dealias.evaluation.scores import Scores, read_scores, summarise
from dealias.inference.bundle import load_model
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import protocol_named
from dealias.runs.folder import RUN, SETTINGS, RunFolder
from dealias.scan.scan import Scan

SCORES = "scores.json"


def model_scores(
    model: str | Path,
    scans: Sequence[Scan],
    recipe: Recipe,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Reconstruct and score scans by a recipe's protocol.

    Args:
        model: As `load_model` takes it.
        scans: With targets. One without a mask gets the recipe's, by its seed.
        recipe: Names the protocol and the masks: the same one for all models to be compared.
        device: Where.
        progress: Called with 1 after each volume.

    Raises:
        UserError: A scan or the model cannot be used.
    """
    network, protocol = load_model(model, device).reconstructor, protocol_named(recipe.protocol)
    volumes = []
    for index, scan in enumerate(scans):
        mask = validation_mask(recipe.masks, scan, recipe.training.seed, index)
        image_ZHW = reconstruct(network, scan, device, mask).image_ZHW
        volumes.append(protocol.score(image_ZHW, scan))
        progress(1)
    return summarise(protocol, volumes)


def scores_of(
    path: Path, data: Path | None, protocol: str | None, device: torch.device | None = None
) -> Scores:
    """The scores of whatever stands where a result stands.

    Args:
        path: A score file, a folder with one, a run, or a folder of reconstructions.
        data: With targets: what a run shall reconstruct, or what was reconstructed. Without it a
            run stands for the validation of its best epoch.
        protocol: Its name; None for a run's own.
        device: Where a run reconstructs.

    Raises:
        SettingsError: There are no scores, and too little is given to make some.
        DataError: Files cannot be used, or do not fit each other.
    """
    if path.is_file():
        return read_scores(path)
    if (path / SCORES).is_file():
        return read_scores(path / SCORES)
    if (path / RUN).is_file():
        return _of_run(path, data, protocol, device or torch.device("cpu"))
    if data is None or protocol is None:
        missing = "no data" if data is None else "no protocol"
        expected = "--data and --protocol to score images by"
        raise SettingsError(path, missing, expected, "or give a run or a scores.json")
    return evaluate(path, open_data(data), protocol_named(protocol))


def run_recipe(run: Path) -> Recipe:
    """The settings that a run was made with.

    Raises:
        SettingsError: They cannot be read.
    """
    return recipe_from(read_yaml(run / SETTINGS), [], str(run / SETTINGS))


def judged_by(recipe: Recipe) -> Recipe:
    """A recipe's settings of validation: those of its last stage, where it has stages."""
    return list(stage_recipes(recipe).values())[-1] if recipe.stages else recipe


def refuse_classifier(recipe: Recipe) -> None:
    """What a run ends in has to make images.

    Raises:
        SettingsError: It is a classifier.
    """
    if recipe.bundle is None and judged_by(recipe).task == "anatomy":
        do = "a classifier's own validation is in its report"
        raise SettingsError("task", "anatomy", "reconstruction, whose images are scored", do)


def refuse_unscored(recipe: Recipe) -> None:
    """Nor can a final run be judged by the validation scans that it was trained on.

    Raises:
        SettingsError: It is one, or a stage of it is; or it is a classifier.
    """
    refuse_classifier(recipe)
    for own in (stage_recipes(recipe) or {"": recipe}).values():
        if own.data.use_val_for_final:
            do = "leave it out: studies score on the validation scans"
            raise SettingsError("data.use_val_for_final", "true", "false", do)


def _of_run(path: Path, data: Path | None, protocol: str | None, device: torch.device) -> Scores:
    whole = run_recipe(path)
    refuse_classifier(whole)
    recipe = judged_by(whole)
    if data is not None:
        own = {} if protocol is None else {"protocol": protocol_named(protocol).name}
        return model_scores(path, open_data(data), recipe.model_copy(update=own), device)
    validation = path / "main" / SCORES
    if not validation.is_file():
        final = RunFolder(path).facts().get("final", "no validation")
        raise SettingsError(path, final, "--data to reconstruct and score", "")
    found = read_scores(validation)
    if protocol not in (None, found.protocol):
        do = "give --data, or leave --protocol out"
        raise SettingsError("--protocol", f"{protocol}", f"{found.protocol}, as it was scored", do)
    return found
