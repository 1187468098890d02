"""Telling anatomies as a task: cross-entropy of slices, judged by volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from dealias.data.remask import MaskSettings, validation_mask
from dealias.data.samples import Batch
from dealias.errors import DataError, SettingsError
from dealias.evaluation.anatomy import Told, anatomy_scores
from dealias.inference.classifier import Classifier, ClassifierSettings
from dealias.models.network import Trainable
from dealias.scan.scan import Scan
from dealias.training.stops import Stops
from dealias.training.task import Validation, judging, poll, this_ranks

WHERE = "classifier"


class PenaltySettings(BaseModel):
    """A penalty on all trained parameters, added to the loss of every slice.

    Attributes:
        kind: "l2" is the sum of squares, "l1" the sum of absolute values.
        weight: Its factor.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["l1", "l2"] = "l2"
    weight: float = Field(default=1e-6, gt=0, allow_inf_nan=False)

    def of(self, network: nn.Module) -> Tensor:
        """The penalty, a scalar."""
        trained = [one for one in network.parameters() if one.requires_grad]
        sums = [one.abs().sum() if self.kind == "l1" else one.square().sum() for one in trained]
        return self.weight * torch.stack(sums).sum()


class AnatomySettings(ClassifierSettings):
    """A classifier of anatomies, and how it is trained.

    Attributes:
        loss: "cross-entropy" of the softmax; "bce", which judges each class by itself (team
            sMaRtIfy's: the mean of the binary cross-entropies of one-hot labels).
        penalty: On its parameters, or None.
    """

    loss: Literal["cross-entropy", "bce"] = "cross-entropy"
    penalty: PenaltySettings | None = None

    @property
    def classifier(self) -> ClassifierSettings:
        """What a file of it says."""
        own = ClassifierSettings.model_fields
        return ClassifierSettings(**{key: getattr(self, key) for key in own})

    def build(self) -> Classifier:
        """The classifier with fresh weights."""
        return Classifier(self.classifier)


@dataclass(frozen=True)
class AnatomyTask:
    """The right class for every slice.

    Attributes:
        settings: Names of the classes, loss and penalty.
        area: The loss counts all samples alike.
    """

    settings: AnatomySettings
    area: bool = False

    def loss(self, network: Trainable, batch: Batch, device: torch.device, epoch: int) -> Tensor:
        """See `Task`: the cross-entropy, and the penalty beside it."""
        scores_BK = network(batch.measurement(network.needs, device))
        right = [self.settings.classes.index(str(one)) for one in batch.anatomies]
        loss_B = self.compare(scores_BK, torch.tensor(right, device=device))
        penalty = self.settings.penalty
        return loss_B if penalty is None else loss_B + penalty.of(network)

    def compare(self, scores_BK: Tensor, right_B: Tensor) -> Tensor:
        """The loss of scores before softmax, (B,)."""
        if self.settings.loss == "cross-entropy":
            return F.cross_entropy(scores_BK, right_B, reduction="none")
        wanted_BK = F.one_hot(right_B, scores_BK.shape[1]).to(scores_BK.dtype)
        return F.binary_cross_entropy_with_logits(scores_BK, wanted_BK, reduction="none").mean(1)

    def validate(
        self, network: Trainable, scans: Sequence[Scan], masks: MaskSettings, seed: int,
        device: torch.device, stops: Stops,
    ) -> Validation:  # fmt: skip
        """See `Task`."""
        assert isinstance(network, Classifier)
        mine: dict[int, Told] = {}
        with judging(network, stops):
            for index, scan in this_ranks(scans, stops):
                mask = validation_mask(masks, scan, seed, index)
                scores_ZK = network.scores(scan, mask, device, lambda: poll(stops))
                mine[index] = self._told(scan, scores_ZK)
        found = {index: one for part in stops.ranks.gather(mine) for index, one in part.items()}
        return self._judged([found[index] for index in sorted(found)])

    def refuse(self, train_scans: Sequence[Scan], val_scans: Sequence[Scan]) -> None:
        """Scans that teach nothing, or that nobody can judge.

        Args:
            train_scans: To train on.
            val_scans: To judge by.

        Raises:
            DataError: A scan has no label or another than the classes, or a class has no scan.
            SettingsError: Images too small for the network.
        """
        for scan in (*train_scans, *val_scans):
            self._label(scan)
            _refuse_small(scan, self.settings.network.stride)
        have = {scan.cell.anatomy for scan in train_scans if scan.cell is not None}
        if missing := [name for name in self.settings.classes if name not in have]:
            found = f"no scan of {' or '.join(missing)}"
            do = f"set data.train, or {WHERE}.classes"
            raise DataError("training data", found, "some of every class", do)

    def _label(self, scan: Scan) -> int:
        """The place of its class."""
        known = self.settings.classes
        if scan.cell is None:
            expected = "an anatomy, as an attribute or in the challenge's names"
            do = "a classifier is trained and judged on labelled scans"
            raise DataError(scan.name, "no label", expected, do)
        if scan.cell.anatomy not in known:
            found = f"anatomy '{scan.cell.anatomy}'"
            do = f"set {WHERE}.classes, or leave it out of data"
            raise DataError(scan.name, found, f"one of {', '.join(known)}", do)
        return known.index(scan.cell.anatomy)

    def _told(self, scan: Scan, scores_ZK: Tensor) -> Told:
        right = self._label(scan)
        assert scan.cell is not None  # it has a label
        return Told(scan.name, scan.cell, scores_ZK.numpy(), right)

    def _judged(self, told: Sequence[Told]) -> Validation:
        scores = anatomy_scores(told)
        losses = [
            float(one)
            for volume in told
            for one in self.compare(
                torch.from_numpy(volume.scores_ZK),
                torch.full((len(volume.scores_ZK),), volume.right),
            )
        ]
        more = {"volume_accuracy": scores.by_cell, "accuracy": scores.accuracy}
        return Validation(scores, loss=fmean(losses), more=more)


def _refuse_small(scan: Scan, stride: int) -> None:
    """One pixel of one slice has no variance for batch norm to divide by."""
    h, w = scan.geometry.target_hw
    if max(h, w) <= stride:
        found = f"images of {h} x {w}, of which strides of {stride} leave one pixel"
        do = f"set {WHERE}.network.widths and depths: fewer layers have fewer strides"
        raise SettingsError(f"{WHERE}.network", found, "more than one", do)
