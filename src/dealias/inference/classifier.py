"""Which anatomy a scan shows, told from its images: ResNet-50 on each slice, one answer a volume.

Team sMaRtIfy (SNU fastMRI challenge 2025) told brain from knee so, on GRAPPA images, with the sum
of all slices' scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

import dealias
from dealias.atomic import write_bytes
from dealias.errors import CheckpointError
from dealias.inference.card import classifier_card
from dealias.inference.locate import WEIGHTS, model_file, write_manifest
from dealias.inference.slices import measurements
from dealias.inference.verify import SCHEMA, check_schema, filled
from dealias.io.weights import Json, read_safetensors, write_safetensors
from dealias.models.network import Trainable
from dealias.models.resnet import ResNet50, ResNetSettings
from dealias.physics.coils import divide
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Needs
from dealias.scan.scan import Scan

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]


class ClassifierSettings(BaseModel):
    """A classifier of anatomies.

    Attributes:
        network: Of one channel, and as many classes as there are names, which need not be said.
        classes: What its scores are of, in order.
        image: What it sees: the zero-filled image, or the data's own GRAPPA image where there is
            one under the same mask, else one that is made here.
        normalise: Whether each image is divided by its maximum; else it is in the data's units.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: ResNetSettings = ResNetSettings(in_channels=1, classes=2)
    classes: tuple[Name, ...] = ("brain", "knee")
    image: Literal["zero-filled", "grappa"] = "zero-filled"
    normalise: bool = True

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, values: Any) -> Any:
        """A network whose ends are not said has those that fit."""
        if not isinstance(values, dict) or not isinstance(values.get("network", {}), dict):
            return values
        classes = values.get("classes", cls.model_fields["classes"].default)
        count = len(classes) if isinstance(classes, list | tuple) else 1
        fitting = {"in_channels": 1, "classes": count}
        return {**values, "network": {**fitting, **values.get("network", {})}}

    @model_validator(mode="after")
    def _fits(self) -> ClassifierSettings:
        if self.network.in_channels != 1 or self.network.classes != len(self.classes):
            raise ValueError(f"one channel and {len(self.classes)} classes, as there are names")
        return self


class Classifier(Trainable):
    """Tells a scan's anatomy from its images alone; names and labels play no part."""

    def __init__(self, settings: ClassifierSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network = ResNet50(settings.network)
        grappa = settings.image == "grappa"
        self.needs = Needs(priors=("grappa",), stored_priors=True) if grappa else Needs()

    def forward(self, measurement: Measurement) -> Tensor:
        """Scores (B, classes) before softmax."""
        if self.settings.image == "grappa":
            image_BHW = measurement.priors["grappa"]
        else:
            image_BHW = measurement.zero_filled()
        image_BHW = measurement.window(image_BHW)
        if self.settings.normalise:
            image_BHW = divide(image_BHW, image_BHW.amax((1, 2), keepdim=True))
        return self.network(image_BHW[:, None])

    def decide(self, scan: Scan, mask: SamplingMask, device: torch.device) -> tuple[str, str]:
        """The class whose scores, summed over all slices, are highest.

        Args:
            scan: The scan.
            mask: Under which it is seen.
            device: Where this network is.

        Returns:
            The class, and how many slices would have said so alone.
        """
        scores_ZK = self.scores(scan, mask, device)
        chosen = decided(scores_ZK)
        alone = Counter(scores_ZK.argmax(1).tolist())[chosen]
        return self.settings.classes[chosen], f"{alone} of {scan.slices} slices"

    def scores(
        self, scan: Scan, mask: SamplingMask, device: torch.device,
        progress: Callable[[], None] = lambda: None,
    ) -> Tensor:  # fmt: skip
        """Scores of each slice, (Z, classes) float64 on the CPU.

        Args:
            scan: The scan.
            mask: Under which it is seen.
            device: Where this network is.
            progress: Called after each slice.
        """
        parts = []
        with torch.no_grad():
            for _, one in measurements(scan, mask, self.needs, device):
                parts.append(self(one).double().cpu())
                progress()
        return torch.cat(parts)


def decided(scores_ZK: Tensor) -> int:
    """The class of a volume: one slice that is sure outweighs several that are not."""
    return int(scores_ZK.sum(0).argmax())


def save_classifier(path: Path, classifier: Classifier, **facts: object) -> Json:
    """Write a classifier's file, which `bundle.anatomy` of a recipe may name.

    Args:
        path: The .safetensors file.
        classifier: The classifier.
        facts: More of the header: licence, provenance, protocol.

    Returns:
        The header that was written.

    Raises:
        DiskError: It cannot be written.
    """
    header = {
        "dealias_version": dealias.__version__,
        "schema": SCHEMA,
        "classifier": classifier.settings.model_dump(mode="json"),
        **facts,
    }
    write_safetensors(path, classifier.state_dict(), header)
    return header


def save_classifier_folder(folder: Path, classifier: Classifier, **facts: object) -> None:
    """Write a classifier as a model folder: weights, card, bundle.json; as `save_classifier`."""
    header = save_classifier(folder / WEIGHTS, classifier, **facts)
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    write_bytes(folder / "card.md", classifier_card(header, parameters).encode())
    write_manifest(folder)


def load_classifier(path: Path) -> Classifier:
    """Read what `save_classifier` or `save_classifier_folder` wrote.

    Args:
        path: The file, a model folder, or a run that trained one.

    Raises:
        CheckpointError: It is another file, or one that does not add up.
        SettingsError: There is nothing of that name.
    """
    file = model_file(path)
    tensors, header = read_safetensors(file)
    check_schema(file, header)
    if "classifier" not in header:
        found = "a network that reconstructs" if "network" in header else "no classifier"
        raise CheckpointError(file, found, "a classifier of anatomies", "see task=anatomy")
    return classifier_from(file, header["classifier"], tensors)


def classifier_from(path: Path, settings: object, tensors: Mapping[str, Tensor]) -> Classifier:
    """The classifier that settings describe, with weights, in eval mode.

    Args:
        path: The file they came from, for messages.
        settings: JSON values.
        tensors: Its weights.

    Raises:
        CheckpointError: They do not add up.
    """
    try:
        judged = ClassifierSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("classifier", *map(str, first["loc"])))
        raise CheckpointError(path, f"{key}: {first['msg']}", "a classifier of dealias") from None
    return filled(path, tensors, lambda: Classifier(judged)).eval()
