"""The one model of a run with stages: RUN/model/ when all of them are finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dealias.atomic import write_bytes
from dealias.config.schema import Recipe
from dealias.data.remask import training_mask
from dealias.data.samples import foreground_threshold
from dealias.errors import DataError
from dealias.evaluation.ensemble import Floats, error_products, fitted_weights
from dealias.inference.bundle import load_model, save_bundle
from dealias.inference.locate import MANIFEST, WEIGHTS
from dealias.inference.reconstruct import reconstruct
from dealias.inference.routing import PREFIX, Router
from dealias.io.weights import read_safetensors
from dealias.metrics.foreground import foreground
from dealias.models.mixture import EnsembleSettings, ExpertsSettings
from dealias.models.table import build_network
from dealias.runs.finish import masks_seen
from dealias.runs.folder import RunFolder
from dealias.runs.jobs import Job
from dealias.runs.routes import classifier_of, members, mixture, router_of
from dealias.scan.profile import Profile
from dealias.scan.scan import Scan


def save_model(
    run: RunFolder, recipe: Recipe, jobs: Sequence[Job], device: torch.device,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Write RUN/model/: the one network there is, experts with their router, or an ensemble.

    Args:
        run: Its folder, with the models of all trainings.
        recipe: Its settings.
        jobs: Its trainings.
        device: Where an ensemble's weights are fitted.
        say: Told of these weights.
    """
    known = {job.name: job for job in jobs}
    chosen = [known[name] for name in members(recipe, jobs)]
    if len(chosen) == 1:
        _copy(chosen[0].folder_in(run).model, run.model)
        return
    settings = mixture(recipe, jobs)
    if isinstance(settings, EnsembleSettings):
        weights = _weights(run, recipe, chosen, device)
        text = ", ".join(
            f"{job.name} {weight:.3f}" for job, weight in zip(chosen, weights, strict=True)
        )
        say(f"ensemble: {text}")
        run.log(f"ensemble: {text}")
        settings = settings.model_copy(update={"weights": weights})
        _save(run, settings, chosen, {str(place): job for place, job in enumerate(chosen)})
    else:
        classifier = classifier_of(recipe, run.path)
        state = {} if classifier is None else classifier.state_dict()
        _save(
            run, settings, chosen, {job.name: job for job in chosen},
            router_of(recipe, jobs, classifier),
            {f"{PREFIX}{name}": tensor for name, tensor in state.items()},
        )  # fmt: skip


def _save(
    run: RunFolder, settings: ExpertsSettings | EnsembleSettings, jobs: Sequence[Job],
    names: dict[str, Job], router: Router | None = None, more: dict[str, Tensor] | None = None,
) -> None:  # fmt: skip
    """Write several trainings' networks as one, by the names that it has for them."""
    weights = {
        f"members.{name}.{key}": tensor
        for name, job in names.items()
        for key, tensor in read_safetensors(job.folder_in(run).model / WEIGHTS)[0].items()
    }
    scans = {scan.id: scan for job in jobs for scan in job.scans[0]}
    masks = [mask for job in jobs for mask in masks_seen(job.recipe, job.scans[0])]
    protocols = {job.recipe.protocol for job in jobs}
    final = any(job.recipe.data.use_val_for_final for job in jobs)
    save_bundle(
        run.model,
        build_network(settings),
        settings,
        profile=Profile.of(list(scans.values()), masks),
        protocol=protocols.pop() if len(protocols) == 1 and not final else None,
        trained_on_validation=final,
        weights={**weights, **(more or {})},
        router=router,
    )


def _weights(
    run: RunFolder, recipe: Recipe, jobs: Sequence[Job], device: torch.device
) -> tuple[float, ...]:
    asked = recipe.bundle.weights if recipe.bundle is not None else None
    if isinstance(asked, tuple):
        return asked
    if asked is None:
        return (1 / len(jobs),) * len(jobs)
    models = [load_model(job.folder_in(run).model, device).reconstructor for job in jobs]
    products_NN: Floats = np.zeros((len(jobs), len(jobs)))
    first = jobs[0]
    for index, scan in enumerate(first.scans[1]):
        # as validation masks them
        seed = first.recipe.training.seed
        mask = scan.mask or training_mask(first.recipe.masks, scan, seed, 0, index)
        images = [reconstruct(model, scan, device, mask).image_ZHW for model in models]
        products_NN += error_products(images, *_wanted(scan))
    return fitted_weights(products_NN)


def _wanted(scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """A scan's target and its foreground, (Z, H, W)."""
    target_ZHW = scan.target(slice(None))
    if target_ZHW is None:
        raise DataError(scan.name, "no target image", "a target to fit weights to", "")
    threshold = foreground_threshold(scan.cell, scan.data_range or float(target_ZHW.max()))
    return target_ZHW, np.stack([foreground(one, threshold) for one in target_ZHW])


def _copy(source: Path, target: Path) -> None:
    """Copy a model folder; its manifest last, which is what makes it one."""
    files = sorted(source.iterdir(), key=lambda file: file.name == MANIFEST)
    for file in files:
        write_bytes(target / file.name, file.read_bytes())
