"""Scoring a folder of reconstructions against a data set."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from dealias.data.catalogue import is_data
from dealias.errors import DataError, SettingsError
from dealias.evaluation.compare import compare
from dealias.evaluation.scores import Scores, summarise
from dealias.inference.layout import output_folders
from dealias.io.output import read_passes, read_reconstruction
from dealias.metrics.protocol import ScoringProtocol
from dealias.scan.scan import Cell, Scan

__all__ = ["Scores", "compare", "evaluate", "labelled", "summarise"]
_NAMED = 5


def evaluate(
    recon: Path,
    scans: Sequence[Scan],
    protocol: ScoringProtocol,
    anatomy: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
    *,
    acceleration: int | None = None,
    warn: Callable[[str], None] = lambda text: None,
    say: Callable[[str], None] = lambda text: None,
) -> Scores:
    """Score every scan; none is skipped.

    Args:
        recon: The folder that `dealias reconstruct --out` wrote for the same data, or one file for
            a single scan.
        scans: With targets.
        protocol: By which.
        anatomy: For scans that do not say theirs.
        progress: Called with 1 after each volume.
        acceleration: In place of the scans' own, where they were reconstructed at another one.
        warn: Called with what is odd but no error.
        say: Called with what the images themselves tell of how they were made.

    Returns:
        The scores.

    Raises:
        DataError: A reconstruction is missing, refused, or does not fit its scan.
        SettingsError: The anatomy is not the one that a scan states.
    """
    paths = _paths(recon, scans)
    _warn_of_others(recon, paths, warn)
    volumes = []
    for scan, path in zip(scans, paths, strict=True):
        recon_ZHW = read_reconstruction(path)
        volumes.append(protocol.score(recon_ZHW, labelled(scan, anatomy, acceleration)))
        progress(1)
    _say_passes(paths, say)
    scores = summarise(protocol, volumes)
    if scores.unscored:
        warn(f"{protocol.name} skips every slice of {_listed(scores.unscored)}")
    return scores


def labelled(scan: Scan, anatomy: str | None, acceleration: int | None) -> Scan:
    """The scan with the cell that its score shall be counted in.

    Args:
        scan: A scan.
        anatomy: Used where the scan states none.
        acceleration: Used in place of the scan's own; else its own, its mask's, or 0 (unknown).

    Returns:
        The scan, with a cell if its anatomy is known.

    Raises:
        SettingsError: The scan states another anatomy, or nobody states one.
    """
    stated = scan.cell
    if anatomy is not None and stated is not None and anatomy != stated.anatomy:
        do = "leave --anatomy out"
        raise SettingsError("--anatomy", anatomy, f"{stated.anatomy}, as {scan.name} states", do)
    known = stated.anatomy if stated is not None else anatomy
    if known is None:
        if acceleration is not None:
            do = "give --anatomy too"
            raise SettingsError("--acceleration", "no anatomy", f"one for {scan.name}", do)
        return scan
    own = stated.acceleration if stated else scan.mask.nominal if scan.mask else None
    return dataclasses.replace(scan, cell=Cell(known, int(acceleration or own or 0)))


def _paths(recon: Path, scans: Sequence[Scan]) -> list[Path]:
    """The reconstruction of each scan."""
    if recon.is_file() and len(scans) == 1:
        return [recon]
    folders = output_folders(scans)
    pairs = zip(scans, folders, strict=True)
    paths = [recon / folder / f"{scan.name}.h5" for scan, folder in pairs]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = [path.relative_to(recon).as_posix() for path in missing]
        found = f"{len(missing)} of {len(paths)} reconstructions missing: {_listed(names)}"
        raise DataError(recon, found, "one for every scan", _advice(recon, missing[0]))
    return paths


def _say_passes(paths: Sequence[Path], say: Callable[[str], None]) -> None:
    """Where reconstructions of flipped measurements were averaged, of how many volumes."""
    counts = Counter(read_passes(path) for path in paths)
    if set(counts) != {1}:
        parts = [f"{passes} in {counts[passes]} volumes" for passes in sorted(counts)]
        say(f"passes averaged (dealias reconstruct --flips): {', '.join(parts)}")


def _advice(recon: Path, missing: Path) -> str:
    places = sorted(recon.rglob(missing.name)) if recon.is_dir() else []
    if places:
        # all of them: the first alone could be the same subject at another acceleration
        there = _listed([place.relative_to(recon).as_posix() for place in places])
        return f"there is {there}: give the sub-folder that belongs to the data"
    return "reconstruct the same data into this folder"


def _warn_of_others(recon: Path, paths: Sequence[Path], warn: Callable[[str], None]) -> None:
    known = set(paths)
    files = recon.rglob("*") if recon.is_dir() else []
    others = sorted(str(path.relative_to(recon)) for path in files if _other(path, known))
    if others:
        warn(f"{len(others)} files in {recon} belong to no scan of the data: {_listed(others)}")


def _other(path: Path, known: set[Path]) -> bool:
    return path not in known and is_data(path)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
