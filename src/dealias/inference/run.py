"""Reconstructing whole data sets: where files go, how long it takes, what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dealias
from dealias.atomic import remove_stale
from dealias.errors import DataError
from dealias.inference.budget import TimeBudget
from dealias.inference.bundle import Model
from dealias.inference.layout import output_folders
from dealias.inference.maps import few_lines
from dealias.inference.reconstruct import Reconstruction, reconstruct
from dealias.io.output import NOTICE, write_reconstruction
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Scan


@dataclass(frozen=True)
class Written:
    """One reconstructed volume.

    Attributes:
        file: Relative to the output folder.
        slices: How many.
        seconds: Reading, reconstructing and writing.
        residual: Largest data-consistency residual of a slice, or None.
        warnings: How the scan differs from what the network was trained on, and what its mask
            does not allow.
    """

    file: str
    slices: int
    seconds: float
    residual: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RunSummary:
    """What `reconstruct_all` did.

    Attributes:
        model: The network's or method's name.
        volumes: One entry per scan.
        seconds: All together.
        time_limit: Seconds, or None.
    """

    model: str
    volumes: tuple[Written, ...]
    seconds: float
    time_limit: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "notice": NOTICE}


def reconstruct_all(
    model_of: Callable[[Scan], Model],
    scans: Sequence[Scan],
    out: Path,
    *,
    device: torch.device | None = None,
    mask: Callable[[Scan], SamplingMask | None] = lambda scan: None,
    batch: int = 1,
    overwrite: bool = False,
    time_limit: float | None = None,
    progress: Callable[[int], None] = lambda slices: None,
    warn: Callable[[str], None] = lambda text: None,
) -> RunSummary:
    """Reconstruct a data set into a folder, one file a volume.

    Args:
        model_of: Gives a scan's model, from `load_model`.
        scans: The data set.
        out: The folder; sub-folders mirror the input's.
        device: Where to work; the CPU if None.
        mask: Gives the mask to use in place of a scan's own, or None.
        batch: Slices worked on at once.
        overwrite: Replace reconstructions that exist.
        time_limit: Seconds all of it may take; more is warned of early, and goes on.
        progress: Called with the number of slices done since the last call.
        warn: Called with each warning.

    Returns:
        What was written.

    Raises:
        DataError: An output exists, or a scan is refused; finished volumes stay.
        DiskError: The disk is full or may not be written.
    """
    folders = output_folders(scans)
    _refuse_existing(scans, [out / folder for folder in folders], overwrite)
    budget = TimeBudget(sum(scan.slices for scan in scans), time_limit, warn)

    def step(slices: int) -> None:
        budget.advance(slices)
        progress(slices)

    volumes, names = [], set()
    for scan, folder in zip(scans, folders, strict=True):
        start, used, model = budget.seconds, mask(scan), model_of(scan)
        said = tuple(_warnings(model, scan, used))
        for text in said:
            warn(f"{scan.name}: {text}")
        result = reconstruct(model.reconstructor, scan, device, used, batch, step)
        path = _write(out / folder, scan, result, model)
        worst = _worst(result)
        file = path.relative_to(out).as_posix()
        names.add(model.name)
        volumes.append(Written(file, scan.slices, budget.seconds - start, worst, said))
    return RunSummary(", ".join(sorted(names)), tuple(volumes), budget.seconds, time_limit)


def _warnings(model: Model, scan: Scan, used: SamplingMask | None) -> Iterator[str]:
    if model.profile:
        yield from model.profile.warnings(scan, used)
    mask = used or scan.mask
    if mask is not None and model.reconstructor.needs.maps == "espirit":
        text = few_lines(mask)
        if text is not None:
            yield text


def _refuse_existing(scans: Sequence[Scan], folders: Sequence[Path], overwrite: bool) -> None:
    for scan, folder in zip(scans, folders, strict=True):
        path = folder / f"{scan.name}.h5"
        if path.exists() and not overwrite:
            raise DataError(path, "a file", "nothing yet", "add --overwrite, or choose --out")
    for folder in set(folders):
        remove_stale(folder)


def _write(folder: Path, scan: Scan, result: Reconstruction, model: Model) -> Path:
    # nothing of the input's name or place, and no time: the same data give the same bytes
    attributes: dict[str, Any] = {"model": model.name, "dealias_version": dealias.__version__}
    if model.header.get("digest"):
        attributes["weights"] = model.header["digest"]
    if result.residual_Z is not None:
        attributes["residual"] = result.residual_Z
    return write_reconstruction(folder, scan.name, result.image_ZHW, attributes)


def _worst(result: Reconstruction) -> float | None:
    return None if result.residual_Z is None else float(np.max(result.residual_Z))
