"""Which anatomy a scan shows, told from its images: ResNet-50 on each slice, one answer a volume.

Team sMaRtIfy (SNU fastMRI challenge 2025) told brain from knee so, on GRAPPA images, with the sum
of all slices' scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

import dealias
from dealias.errors import CheckpointError
from dealias.inference.slices import measurements
from dealias.inference.verify import SCHEMA, check_schema, filled
from dealias.io.weights import read_safetensors, write_safetensors
from dealias.models.resnet import ResNet50, ResNetSettings
from dealias.physics.coils import divide
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Needs
from dealias.scan.scan import Scan

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]


class ClassifierSettings(BaseModel):
    """A classifier of anatomies.

    Attributes:
        network: Of one channel, and as many classes as there are names.
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

    @model_validator(mode="after")
    def _fits(self) -> ClassifierSettings:
        if self.network.in_channels != 1 or self.network.classes != len(self.classes):
            raise ValueError(f"one channel and {len(self.classes)} classes, as there are names")
        return self


class Classifier(nn.Module):
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
        with torch.no_grad():
            parts = [self(one) for _, one in measurements(scan, mask, self.needs, device)]
        scores_ZK = torch.cat(parts).double()
        chosen = int(scores_ZK.sum(0).argmax())
        alone = Counter(scores_ZK.argmax(1).tolist())[chosen]
        return self.settings.classes[chosen], f"{alone} of {scan.slices} slices"


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write a classifier's file, which `bundle.anatomy` of a recipe may name.

    Raises:
        DiskError: It cannot be written.
    """
    header = {
        "dealias_version": dealias.__version__,
        "schema": SCHEMA,
        "classifier": classifier.settings.model_dump(mode="json"),
    }
    write_safetensors(path, classifier.state_dict(), header)


def load_classifier(path: Path) -> Classifier:
    """Read what `save_classifier` wrote.

    Raises:
        CheckpointError: It is another file, or one that does not add up.
    """
    tensors, header = read_safetensors(path)
    check_schema(path, header)
    return classifier_from(path, header.get("classifier"), tensors)


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
