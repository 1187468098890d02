"""Looking inside a trained model: one slice of each cell, and what augmentation does to its data.

Bounded: at most 8 cells, of each one slice from inside and two from outside, and some training
slices of each anatomy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dealias.config.compose import recipe_from
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml
from dealias.data.augment_slices import refuse_masked
from dealias.data.catalogue import open_data, open_split
from dealias.data.narrow import refuse_cache
from dealias.data.remask import validation_mask
from dealias.errors import DataError, SettingsError
from dealias.evaluation.augmentation import (
    augmentation_facts,
    augmentation_needs,
    slices_looked_at,
)
from dealias.evaluation.augmentation_facts import AugmentationFacts
from dealias.evaluation.inside import Inside, look_inside, one_slice, target_of
from dealias.evaluation.scores import Scores, read_scores
from dealias.inference.bundle import Model, load_model
from dealias.inference.slices import mask_of
from dealias.physics.sampling.mask import SamplingMask
from dealias.runs.analysis_file import (
    SHOWN,
    Analysis,
    AnalysisFacts,
    CellFacts,
    Images,
    MaskFacts,
    SliceFacts,
    write_analysis,
)
from dealias.runs.cells import trained_in, validated_in
from dealias.runs.folder import RUN, SETTINGS, RunFolder
from dealias.scan.scan import Cell, Scan

MOST_CELLS = 8


@dataclass(frozen=True)
class Subject:
    """A model and the data that it is looked at on.

    Attributes:
        model: In eval mode.
        recipe: The run's, or None for a model without a run.
        scans: Of the validation; without a run, all of the data.
        training: Scans whose augmentation is looked at; none where there is no augmentation.
        scores: Of the validation that chose the model, or None.
    """

    model: Model
    recipe: Recipe | None
    scans: tuple[Scan, ...]
    training: tuple[Scan, ...] = ()
    scores: Scores | None = None

    def mask(self, index: int) -> SamplingMask:
        """The mask of a scan: as at validation, or its own where there is no recipe.

        Raises:
            DataError: It has none.
        """
        scan = self.scans[index]
        if self.recipe is not None:
            masks, seed = self.recipe.masks, self.recipe.training.seed
            return mask_of(scan, validation_mask(masks, scan, seed, index))
        if scan.mask is None:
            do = "give data with masks: without a run no recipe says how to draw one"
            raise DataError(scan.name, "no sampling mask", "a mask in the file", do)
        return mask_of(scan, None)

    def cells(self) -> dict[str, int]:
        """The first scan of each cell, by the cell's name; "" are those without a label."""
        first: dict[str, int] = {}
        for index, scan in enumerate(self.scans):
            first.setdefault(_name(scan.cell), index)
        return {name: first[name] for name in sorted(first)[:MOST_CELLS]}

    def slices(self) -> list[tuple[SliceFacts, int]]:
        """Each cell's median and worst slice by its scores, and their scans."""
        places = {(scan.name, _name(scan.cell)): i for i, scan in enumerate(self.scans)}
        found = [one for cell in self.cells() for one in _chosen(self.scores, cell)]
        return [
            (one, places[one.name, one.cell]) for one in found if (one.name, one.cell) in places
        ]

    @property
    def steps(self) -> int:
        """What `examine` counts."""
        return len(self.cells()) + len(self.slices()) + slices_looked_at(self.training)


def subject_of(source: str | Path, data: Path, device: torch.device) -> Subject:
    """Open a model and its data.

    Args:
        source: A run folder, that of a stage, or any other model.
        data: Of a run, the data set as it was trained on: its validation split is looked at, and
            if it augments, its training split. Of any other model, any data.
        device: Where the model shall be.

    Raises:
        CheckpointError: There is no model yet, or it is refused.
        DataError: The data cannot be used.
        SettingsError: There is no such path, or it is a classifier's.
    """
    path = Path(source)
    if not (path / RUN).is_file():
        return Subject(load_model(source, device), None, open_data(data))
    facts = RunFolder(path).facts()
    recipe = recipe_from(read_yaml(path / SETTINGS), [], str(path / SETTINGS))
    if recipe.task != "reconstruction":
        found, do = "a classifier, which makes no images", "give the run, or another stage of it"
        raise SettingsError(f"run '{path}'", found, "a network that reconstructs", do)
    model = load_model(source, device)
    scans = open_split(data, recipe.data.val)
    train = open_split(data, recipe.data.train) if recipe.augment.active else ()
    # said before the long work
    refuse_cache(train, augmentation_needs(model.reconstructor.needs), recipe.masks, recipe.augment)
    refuse_masked(train, recipe.augment)
    stage = facts.get("stage")
    cell = _cell_of(str(stage), scans) if stage else None
    if cell is not None:
        scans, train = validated_in(cell, scans), trained_in(cell, train, recipe.masks)
    scores = (path if stage else path / "main") / "scores.json"
    known = read_scores(scores) if scores.is_file() else None
    return Subject(model, recipe, scans, train, known)


def examine(
    subject: Subject, out: Path, device: torch.device,
    progress: Callable[[int], None] = lambda steps: None,
) -> None:  # fmt: skip
    """Look at all there is to see, and write OUT/analysis.

    Args:
        subject: What.
        out: The run's folder, or another.
        device: Where the model is.
        progress: Called with steps done since the last call, `subject.steps` in all.

    Raises:
        DataError: A scan cannot be used.
        DiskError: It cannot be written.
    """
    recipe, cells, slices = subject.recipe, subject.cells(), subject.slices()
    for index in cells.values():
        target_of(subject.scans[index], 0)  # refused before the long work
    inside = []
    for index in cells.values():
        scan = subject.scans[index]
        inside.append(_looked(subject, index, scan.slices // 2, device))
        progress(1)
    pictures = []
    for one, index in slices:
        pictures.append(_pictured(subject, index, one.z, device))
        progress(1)
    facts = AnalysisFacts(
        model=subject.model.name,
        weights=subject.model.header.get("digest"),
        protocol=subject.scores.protocol if subject.scores is not None else None,
        trained_on=recipe is not None and recipe.data.use_val_for_final,
        cells=tuple(known for known, _ in inside),
        slices=tuple(one for one, _ in slices),
        augmentation=_augmentation(subject, progress),
    )
    write_analysis(out, Analysis(facts, tuple(one for _, one in inside), tuple(pictures)))


def _looked(
    subject: Subject, index: int, z: int, device: torch.device
) -> tuple[CellFacts, dict[str, Images]]:
    scan, mask = subject.scans[index], subject.mask(index)
    found = look_inside(subject.model.reconstructor, scan, z, mask, device)
    facts = CellFacts(
        cell=_name(scan.cell),
        name=scan.name,
        z=z,
        mask=MaskFacts(
            family=mask.family, nominal=mask.nominal, effective=mask.effective, acs=mask.acs
        ),
        coils=found.coils,
        cascades=found.numbers,
        of=found.of,
        route=found.route.name if found.route is not None else None,
        route_why=found.route.why if found.route is not None else None,
        why=found.why,
    )
    return facts, _arrays(found, mask)


def _arrays(found: Inside, mask: SamplingMask) -> dict[str, Images]:
    arrays: dict[str, Images | None] = {
        "image": found.image_HW,
        "zero_filled": found.zero_filled_HW,
        "reference": found.reference_HW,
        "mask": mask.lines,
        "cascades": found.cascades_NHW,
        "sens": found.sens_NHW,
        "field": found.field_HW,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def _pictured(subject: Subject, index: int, z: int, device: torch.device) -> dict[str, Images]:
    scan, mask = subject.scans[index], subject.mask(index)
    images = one_slice(subject.model.reconstructor, scan, z, mask, device)
    return dict(zip(SHOWN, images, strict=True))


def _augmentation(
    subject: Subject, progress: Callable[[int], None]
) -> dict[str, AugmentationFacts]:
    recipe = subject.recipe
    if recipe is None or not subject.training:
        return {}
    needs, seed = subject.model.reconstructor.needs, recipe.training.seed
    return augmentation_facts(subject.training, recipe.masks, recipe.augment, needs, seed, progress)


def _chosen(scores: Scores | None, cell: str) -> list[SliceFacts]:
    """The median and the worst of a cell's slices; of an even number the lower median."""
    slices = sorted(
        (one.ssim, volume.name, one.z)
        for volume in (scores.volumes if scores is not None else ())
        if _name(volume.cell) == cell
        for one in volume.slices
        if one.ssim is not None
    )
    if not slices:
        return []
    chosen = {"median": slices[(len(slices) - 1) // 2], "worst": slices[0]}
    return [
        SliceFacts.model_validate(
            {"cell": cell, "which": which, "name": name, "z": z, "ssim": ssim}
        )
        for which, (ssim, name, z) in chosen.items()
        if which == "worst" or len(slices) > 1
    ]


def _cell_of(stage: str, scans: Sequence[Scan]) -> Cell | None:
    """The cell that STAGE/CELL is a training of, None for a stage of all.

    Raises:
        DataError: The data have no such scans.
    """
    _, _, wanted = stage.partition("/")
    known = {str(scan.cell): scan.cell for scan in scans if scan.cell is not None}
    if wanted and wanted not in known:
        raise DataError(f"stage '{stage}'", f"no validation scans of {wanted}", "some", "")
    return known.get(wanted)


def _name(cell: Cell | None) -> str:
    return "" if cell is None else str(cell)
