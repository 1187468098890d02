"""Reconstructing whole data sets: where files go, how long it takes, what is said about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dealias
from dealias.atomic import remove_stale
from dealias.engine.ranks import ALONE, Ranks
from dealias.errors import DataError
from dealias.inference.budget import TimeBudget
from dealias.inference.bundle import Model
from dealias.inference.flips import Flip
from dealias.inference.layout import output_folders
from dealias.inference.reconstruct import Reconstruction, reconstruct
from dealias.io.output import NOTICE, write_reconstruction
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.maps import few_lines
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
        route: Which expert made it, where there are several, and
        why: what decided it.
        passes: Reconstructions that each image is the average of: 1, and one for each flip.
    """

    file: str
    slices: int
    seconds: float
    residual: float | None
    warnings: tuple[str, ...]
    route: str | None = None
    why: str | None = None
    passes: int = 1


@dataclass(frozen=True)
class RunSummary:
    """What `reconstruct_all` did.

    Attributes:
        model: The network's or method's name.
        volumes: One entry per scan.
        seconds: All together.
        time_limit: Seconds, or None.
        flips: That were asked for; a volume has all of them or, for want of time, none.
    """

    model: str
    volumes: tuple[Written, ...]
    seconds: float
    time_limit: float | None = None
    flips: tuple[Flip, ...] = ()

    @property
    def plain(self) -> tuple[str, ...]:
        """Files of volumes whose flips were left out to keep the time limit."""
        wanted = 1 + len(self.flips)
        return tuple(volume.file for volume in self.volumes if volume.passes < wanted)

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
    ranks: Ranks = ALONE,
    flips: Sequence[Flip] = (),
) -> RunSummary:
    """Reconstruct a data set into a folder, one file a volume.

    Each volume is one rank's, and its file has the same bytes whichever that is. Under a time limit
    flips are an exception: a volume for which they would leave no time for the others has none of
    them, which its file says; how fast the machine is decides then.

    Args:
        model_of: Gives a scan's model, from `load_model`.
        scans: The data set.
        out: The folder; sub-folders mirror the input's.
        device: Where to work; the CPU if None.
        mask: Gives the mask to use in place of a scan's own, or None.
        batch: Slices worked on at once.
        overwrite: Replace reconstructions that exist.
        time_limit: Seconds all of it may take; more is warned of early, and goes on. Flips are
            left out first, and one slice is reconstructed beforehand to see how long it takes.
        progress: Called with the number of slices done since the last call.
        warn: Called with each warning; of several ranks, those of other ranks come at the end.
        ranks: Which share the scans; the first one alone calls `progress` and `warn`.
        flips: See `reconstruct`.

    Returns:
        What was written by all ranks.

    Raises:
        DataError: An output exists, or a scan is refused; finished volumes stay.
        DiskError: The disk is full or may not be written.
        Broken: A rank has left; finished volumes stay.
    """
    folders = output_folders(scans)
    # before any rank writes
    ranks.from_first(lambda: _refuse_existing(scans, [out / one for one in folders], overwrite))
    mine = share(scans, ranks)
    budget = TimeBudget(sum(scans[index].slices for index in mine), time_limit, warn)
    if flips and time_limit is not None and mine:
        _try(model_of, scans[mine[0]], device, mask, budget)
    found: dict[int, tuple[str, Written]] = {}
    for index in mine:
        scan, model = scans[index], model_of(scans[index])
        start, used = budget.seconds, mask(scan)
        said = tuple(_warnings(model, scan, used))
        for text in said:
            warn(f"{scan.name}: {text}")
        chosen = flips if budget.affords(scan.slices, 1 + len(flips)) else ()
        step = partial(_step, budget, progress, 1 + len(chosen))
        result = reconstruct(model.reconstructor, scan, device, used, batch, step, chosen)
        path = _write(out / folders[index], scan, result, model, flips)
        route, why = result.route or (None, None)
        found[index] = model.name, Written(
            path.relative_to(out).as_posix(), scan.slices, budget.seconds - start, _worst(result),
            said, route, why, 1 + len(chosen),
        )  # fmt: skip
    summary = _summary(found, scans, ranks, budget, time_limit, warn)
    return replace(summary, flips=tuple(flips))


def _try(
    model_of: Callable[[Scan], Model], scan: Scan, device: torch.device | None,
    mask: Callable[[Scan], SamplingMask | None], budget: TimeBudget,
) -> None:  # fmt: skip
    """Reconstruct one slice for the time that it takes."""
    reconstruct(model_of(scan).reconstructor, scan, device, mask(scan), only=range(1))
    budget.tried()


def _step(budget: TimeBudget, progress: Callable[[int], None], passes: int, slices: int) -> None:
    budget.advance(slices, passes)
    progress(slices)


def share(scans: Sequence[Scan], ranks: Ranks) -> list[int]:
    """Indices of the scans that this rank reconstructs."""
    return ranks.deal([math.prod(scan.shape) for scan in scans])


def _summary(
    found: dict[int, tuple[str, Written]],
    scans: Sequence[Scan],
    ranks: Ranks,
    budget: TimeBudget,
    time_limit: float | None,
    warn: Callable[[str], None],
) -> RunSummary:
    """What all ranks did, in the scans' order."""
    everything = {index: one for part in ranks.gather(found) for index, one in part.items()}
    for index in sorted(everything.keys() - found.keys()):
        for text in everything[index][1].warnings:
            warn(f"{scans[index].name}: {text}")
    ordered = [everything[index] for index in sorted(everything)]
    names = ", ".join(sorted({name for name, _ in ordered}))
    return RunSummary(names, tuple(one for _, one in ordered), budget.seconds, time_limit)


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


def _write(
    folder: Path, scan: Scan, result: Reconstruction, model: Model, asked: Sequence[Flip]
) -> Path:
    # nothing of the input's name or place, and no time: the same data give the same bytes
    attributes: dict[str, Any] = {"model": model.name, "dealias_version": dealias.__version__}
    if model.header.get("digest"):
        attributes["weights"] = model.header["digest"]
    if result.residual_Z is not None:
        attributes["residual"] = result.residual_Z
    if result.route is not None:
        attributes["route"] = result.route.name
    if asked:
        attributes["passes"] = 1 + len(result.flips)
        attributes["flips"] = ",".join(result.flips) or f"none of {','.join(asked)}: time limit"
    return write_reconstruction(folder, scan.name, result.image_ZHW, attributes)


def _worst(result: Reconstruction) -> float | None:
    return None if result.residual_Z is None else float(np.max(result.residual_Z))
