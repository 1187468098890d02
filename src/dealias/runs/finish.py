"""Finishing a run: the folder that a colleague needs."""

from __future__ import annotations

from collections.abc import Callable

from dealias.config.schema import Recipe
from dealias.data.remask import training_mask
from dealias.errors import CheckpointError
from dealias.inference.bundle import save_bundle
from dealias.models.table import build_network
from dealias.runs.folder import RunFolder
from dealias.scan.profile import Profile
from dealias.scan.scan import Scan
from dealias.training.checkpoint import Checkpoints, read_checkpoint

PROFILED = 64
"""Masks drawn to tell a model file what its training masks were like."""


def save_best(
    folder: RunFolder, recipe: Recipe, scans: tuple[Scan, ...], warn: Callable[[str], None]
) -> None:
    """Write RUN/model/ from the best checkpoint, or the last where nothing was validated."""
    checkpoints = Checkpoints(folder.main / "checkpoints", recipe.training.keep_last, warn)
    best = checkpoints.path("best") or checkpoints.path("latest")
    if best is None:
        raise CheckpointError(folder.path, "no checkpoint", "a trained network", "resume the run")
    state, _ = read_checkpoint(best)
    network = build_network(recipe.network)
    network.load_state_dict(state.kept)
    seed = recipe.training.seed
    masks = [
        training_mask(recipe.masks, scans[i % len(scans)], seed, i, i) for i in range(PROFILED)
    ]
    profile = Profile.of(scans, masks)
    save_bundle(folder.model, network, recipe.network, profile=profile, protocol=recipe.protocol)
