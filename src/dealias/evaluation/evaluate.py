"""Scoring a folder of reconstructions against a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from dealias.errors import DataError
from dealias.evaluation.scores import Scores, summarise
from dealias.inference.layout import output_folders
from dealias.io.output import read_reconstruction
from dealias.metrics.protocol import ScoringProtocol
from dealias.scan.scan import Cell, Scan


def evaluate(
    recon: Path,
    scans: Sequence[Scan],
    protocol: ScoringProtocol,
    anatomy: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Score every scan; none is skipped.

    Args:
        recon: The folder that `dealias reconstruct --out` wrote for the same data.
        scans: With targets.
        protocol: By which.
        anatomy: For scans that do not say theirs.
        progress: Called with 1 after each volume.

    Returns:
        The scores.

    Raises:
        DataError: A reconstruction is missing, refused, or does not fit its scan.
    """
    paths = [
        recon / folder / f"{scan.name}.h5"
        for scan, folder in zip(scans, output_folders(scans), strict=True)
    ]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = ", ".join(str(path.relative_to(recon)) for path in missing[:5])
        found = f"{len(missing)} of {len(paths)} reconstructions missing: {names}"
        do = "reconstruct the same data into this folder"
        raise DataError(recon, found, "one for every scan", do)
    volumes = []
    for scan, path in zip(scans, paths, strict=True):
        volumes.append(protocol.score(read_reconstruction(path), _with_anatomy(scan, anatomy)))
        progress(1)
    return summarise(protocol, volumes)


def _with_anatomy(scan: Scan, anatomy: str | None) -> Scan:
    if anatomy is None or scan.cell is not None:
        return scan
    acceleration = int(scan.mask.nominal or 0) if scan.mask else 0
    return dataclasses.replace(scan, cell=Cell(anatomy, acceleration))
