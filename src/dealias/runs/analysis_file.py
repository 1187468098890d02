"""RUN/analysis: what was found inside a model, as facts in JSON and pictures as arrays."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

import dealias
from dealias.atomic import replacing, sha256, write_json
from dealias.errors import DataError
from dealias.evaluation.augmentation_facts import AugmentationFacts

FOLDER, FACTS, ARRAYS = "analysis", "analysis.json", "analysis.npz"
VERSION = 1
FACTS_LIMIT = 16 << 20
AGAIN = "write it again: dealias report RUN --data DATA"
Images = npt.NDArray[Any]
SHOWN = ("zero_filled", "image", "reference")
"""Pictures that every slice has, (H, W)."""
_AXES = {"mask": (1, 2), "cascades": (3,), "sens": (3,), "field": (2,)}


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MaskFacts(_Facts):
    """What a mask says of itself; its lines are an array."""

    family: str
    nominal: float | None
    effective: float
    acs: tuple[int, int]


class CellFacts(_Facts):
    """One slice that was looked at from inside the model.

    Attributes:
        cell: "brain-x4", or "" without a label.
        name: Of the scan.
        z: Slice index.
        mask: It was seen through.
        coils: That the model sees.
        cascades: Numbers, from 1, of those whose images are kept.
        of: How many cascades there are.
        route: Which expert it was, and
        route_why: what decided it.
        why: What is not there ("cascades", "field"), and why.
    """

    cell: str
    name: str
    z: int
    mask: MaskFacts
    coils: int
    cascades: tuple[int, ...]
    of: int
    route: str | None = None
    route_why: str | None = None
    why: dict[str, str] = {}


class SliceFacts(_Facts):
    """One slice whose error is shown.

    Attributes:
        cell: As above.
        which: Of all the cell's slices.
        name: Of the scan.
        z: Slice index.
        ssim: At the validation that chose the model.
    """

    cell: str
    which: Literal["median", "worst"]
    name: str
    z: int
    ssim: float


class AnalysisFacts(_Facts):
    """What was found.

    Attributes:
        dealias_analysis: Version of the form.
        made_with: Version of dealias.
        model: The network's or method's name.
        weights: Digest of its weights, or None.
        protocol: By which slices were chosen, or None.
        trained_on: Whether the model was trained on these very scans, as a final run's is.
        arrays: SHA-256 of the file of arrays.
        cells: Slices looked at from inside.
        slices: Slices whose error is shown.
        augmentation: By anatomy.
    """

    dealias_analysis: Literal[1] = 1
    made_with: str = dealias.__version__
    model: str
    weights: str | None
    protocol: str | None
    trained_on: bool = False
    arrays: str = ""
    cells: tuple[CellFacts, ...]
    slices: tuple[SliceFacts, ...] = ()
    augmentation: dict[str, AugmentationFacts] = {}


@dataclass(frozen=True)
class Analysis:
    """Facts with their arrays.

    Attributes:
        facts: The facts.
        cells: Of each cell, arrays by name: `SHOWN`, "mask" (W) or (H, W) bool, "cascades" and
            "sens" (N, H, W), "field" (H, W) where there is one.
        slices: Of each slice, `SHOWN`.
    """

    facts: AnalysisFacts
    cells: tuple[Mapping[str, Images], ...]
    slices: tuple[Mapping[str, Images], ...]


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write FOLDER/analysis; the facts last, which name the arrays that belong to them.

    Raises:
        DiskError: It cannot be written.
    """
    path = folder / FOLDER / ARRAYS
    arrays: dict[str, Any] = {
        f"{kind}-{place}-{name}": array
        for kind, parts in (("cell", analysis.cells), ("slice", analysis.slices))
        for place, part in enumerate(parts)
        for name, array in part.items()
    }
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    facts = analysis.facts.model_copy(update={"arrays": sha256(path)})
    write_json(folder / FOLDER / FACTS, facts.model_dump(mode="json"))


def read_analysis(folder: Path) -> Analysis | None:
    """Read FOLDER/analysis; None where there is none.

    Raises:
        DataError: It is damaged, or another version of dealias wrote it.
    """
    if not (folder / FOLDER / FACTS).is_file():
        return None
    facts = _facts(folder / FOLDER / FACTS)
    path, where = folder / FOLDER / ARRAYS, f"{FOLDER}/{ARRAYS}"
    if not path.is_file() or sha256(path) != facts.arrays:
        found = "other bytes than were written" if path.is_file() else "no such file"
        raise DataError(where, found, f"the arrays of {FACTS}", AGAIN)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            cells = [_of(arrays, f"cell-{i}-", True) for i in range(len(facts.cells))]
            slices = [_of(arrays, f"slice-{i}-", False) for i in range(len(facts.slices))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(where, f"damaged arrays ({error})", "pictures", AGAIN) from None
    return Analysis(facts, tuple(cells), tuple(slices))


def _facts(path: Path) -> AnalysisFacts:
    where = f"{FOLDER}/{FACTS}"
    try:
        if path.stat().st_size > FACTS_LIMIT:
            raise ValueError("too long")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(where, f"damaged JSON ({error})", "facts", AGAIN) from None
    version = value.get("dealias_analysis") if isinstance(value, dict) else None
    if version != VERSION:
        found = f"form {version!r}, of another version of dealias"
        raise DataError(where, found, f"form {VERSION}", AGAIN)
    try:
        return AnalysisFacts.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(where, f"{key}: {first['msg']}", "facts", AGAIN) from None


def _of(arrays: Mapping[str, Images], prefix: str, inside: bool) -> dict[str, Images]:
    """The arrays of one slice, each with as many axes as it must have.

    Raises:
        KeyError: One is missing.
        ValueError: One is no picture.
    """
    names = [name.removeprefix(prefix) for name in arrays if name.startswith(prefix)]
    found = {name: arrays[prefix + name] for name in names}
    for name in (*SHOWN, *(["mask", "cascades"] if inside else [])):
        if name not in found:
            raise KeyError(f"no {prefix}{name}")
    for name, array in found.items():
        real = array.dtype == np.bool_ if name == "mask" else array.dtype == np.float32
        if not real or array.ndim not in _AXES.get(name, (2,)) or 0 in array.shape[-1:]:
            raise ValueError(f"{prefix}{name} is {array.dtype} of shape {array.shape}")
    return found
