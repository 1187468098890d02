"""Finishing a run: the folder that a colleague needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dealias.config.schema import Recipe
from dealias.data.remask import example_masks
from dealias.errors import CheckpointError
from dealias.evaluation import anatomy
from dealias.inference.bundle import save_bundle
from dealias.inference.classifier import Classifier, save_classifier_folder
from dealias.models.network import Network, Trainable
from dealias.physics.sampling.mask import SamplingMask
from dealias.runs.folder import RunFolder
from dealias.runs.tasks import TASKS
from dealias.scan.profile import Profile
from dealias.scan.scan import Scan
from dealias.training.checkpoint import Checkpoints, read_checkpoint

PROFILED = 64
"""Masks drawn to tell a model file what its training masks were like."""


def save_best(
    folder: RunFolder,
    recipe: Recipe,
    scans: tuple[Scan, ...],
    warn: Callable[[str], None],
    pick: str = "best",
) -> None:
    """Write RUN/model/ from the best checkpoint, or the last where nothing was validated.

    Args:
        folder: The run's or the stage's.
        recipe: Its settings.
        scans: That it was trained on.
        warn: Told of everything that is not as it should be.
        pick: "last" for the last checkpoint in any case.
    """
    state, _ = read_checkpoint(checkpoint_of(folder, pick, warn))
    network = TASKS[recipe.task].build(recipe)
    network.load_state_dict(state.kept)
    _SAVE[recipe.task](folder.model, network, recipe, scans)


def _save_network(model: Path, network: Trainable, recipe: Recipe, scans: tuple[Scan, ...]) -> None:
    assert isinstance(network, Network)
    profile = Profile.of(scans, masks_seen(recipe, scans))
    final = recipe.data.use_val_for_final
    save_bundle(
        model, network, recipe.network, profile=profile,
        protocol=None if final else recipe.protocol, trained_on_validation=final,
    )  # fmt: skip


def _save_classifier(
    model: Path, network: Trainable, recipe: Recipe, scans: tuple[Scan, ...]
) -> None:
    assert isinstance(network, Classifier)
    final = recipe.data.use_val_for_final
    facts = ("trained_on_validation", True) if final else ("protocol", anatomy.NAME)
    save_classifier_folder(model, network, **dict([facts]))


_SAVE = {"reconstruction": _save_network, "anatomy": _save_classifier}


def checkpoint_of(folder: RunFolder, pick: str, warn: Callable[[str], None]) -> Path:
    """The checkpoint of a training that is picked.

    Args:
        folder: The run's or the stage's.
        pick: "last"; anything else is the best, or the last where nothing was validated.
        warn: Told of everything that is not as it should be.

    Raises:
        CheckpointError: There is none.
    """
    checkpoints = Checkpoints(folder.main / "checkpoints", 2, warn)
    found = checkpoints.path("latest") if pick == "last" else checkpoints.path("best")
    found = found or checkpoints.path("latest")
    if found is None:
        raise CheckpointError(folder.path, "no checkpoint", "a trained network", "resume the run")
    return found


def masks_seen(recipe: Recipe, scans: Sequence[Scan]) -> list[SamplingMask]:
    """Examples of the masks that a training draws."""
    training = recipe.training
    return example_masks(recipe.masks, scans, training.seed, training.epochs, PROFILED)
