"""sMaRtIfy's classifier of anatomies, as a model file that `bundle.anatomy` takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dealias.atomic import write_json
from dealias.errors import CheckpointError
from dealias.inference.classifier import (
    ClassifierSettings,
    classifier_from,
    save_classifier_folder,
)
from dealias.inference.importing import RECORD, read_weights, refuse_model_there
from dealias.io.weights import Json
from dealias.models.published.classifier import (
    CLASSES,
    LICENCE,
    PROJECT,
    is_taken_off,
    matches,
    place,
    read_classifier,
)

KIND = "smartify-classifier"
"""What `dealias import --as` calls it."""


@dataclass(frozen=True)
class ImportedClassifier:
    """What was made of a file.

    Attributes:
        settings: The classifier's.
        parameters: How many numbers its weights are.
        taken: Keys that went into a running mean: biases in front of a batch norm.
    """

    settings: ClassifierSettings
    parameters: int
    taken: tuple[str, ...]


def holds_classifier(file: Path) -> bool:
    """Whether a file holds such a checkpoint.

    Raises:
        CheckpointError: It holds no weights, or is refused.
    """
    return matches(read_weights(file)[0])


def import_classifier(file: Path, out: Path, overwrite: bool = False) -> ImportedClassifier:
    """Convert sMaRtIfy's checkpoint to a model folder.

    It sees what theirs saw: the data's GRAPPA image as it is.

    Args:
        file: A .pt, .pth or .ckpt that torch wrote, or .safetensors.
        out: The folder.
        overwrite: Replace a model that is there.

    Raises:
        CheckpointError: The file is refused, or is no such checkpoint.
        SettingsError: There is a model already.
        DiskError: It cannot be written.
    """
    refuse_model_there(out, overwrite)
    state, _ = read_weights(file)
    network, weights = read_classifier(state)
    if network.in_channels != 1 or network.classes != len(CLASSES):
        found = f"{network.in_channels} channels and {network.classes} classes"
        raise CheckpointError(file, found, f"1 channel and {len(CLASSES)} classes")
    settings = ClassifierSettings(network=network, classes=CLASSES, image="grappa", normalise=False)
    own = {f"network.{name}": _single(one) for name, one in weights.items()}
    classifier = classifier_from(file, settings.model_dump(), own)
    provenance: Json = {
        "kind": KIND, "project": PROJECT, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }  # fmt: skip
    save_classifier_folder(out, classifier, licence=LICENCE, provenance=provenance)
    names = {key: f"network.{place(key)}" for key in state}
    write_json(out / RECORD, {**provenance, "licence": LICENCE, "names": names})
    parameters = sum(one.numel() for one in classifier.parameters())
    taken = tuple(key for key in state if is_taken_off(key))
    return ImportedClassifier(settings, parameters, taken)


def _single(one: Tensor) -> Tensor:
    return one.to(torch.float32) if one.is_floating_point() else one
