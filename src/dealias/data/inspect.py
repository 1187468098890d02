"""Checking a whole data set; each file in a child process, so that a crash is a finding."""

from __future__ import annotations

import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from dealias.data.catalogue import data_files, is_file, missing_partner
from dealias.data.checks import check_scan
from dealias.data.findings import Finding, Level
from dealias.errors import DataError, UserError
from dealias.io.guard import open_guarded
from dealias.io.open import open_scan
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.table import FAMILIES

TIMEOUT_SECONDS = 600
_TRAINING = {"train", "multicoil_train"}
_HELD_OUT = {"val", "multicoil_val"}
_FULL = "full X1"
_TEST = {"leaderboard", "test", "multicoil_test", "multicoil_challenge"}


@dataclass(frozen=True)
class Checked:
    """Findings of one file, and what tells whether it appears twice.

    Attributes:
        file: The k-space file.
        findings: What was found.
        id: Content hash of the scan, or None if it could not be opened.
        family: Mask family and acceleration ("snu X4"), for the data set's summary.
        patient: The file's attribute `patient_id`, or None.
    """

    file: Path
    findings: tuple[Finding, ...]
    id: str | None
    family: str | None
    patient: str | None = None


def check(
    path: Path, workers: int = 2, progress: Callable[[int], None] = lambda done: None
) -> list[Finding]:
    """Check a file or a whole data set.

    Args:
        path: What.
        workers: Child processes.
        progress: Called with 1 after each file.

    Returns:
        Findings of all files, then those that concern several.

    Raises:
        DataError: There is nothing to check.
    """
    files = find_files(path)
    findings, kspace = _pairs(files)
    if not kspace and not findings:
        do = "name the folder that holds kspace and image"
        raise DataError(path, "images alone", "files of k-space", do)
    checked = _in_children(kspace, workers, progress)
    for one in checked:
        findings += one.findings
    return findings + _duplicates(checked) + _people(checked) + _unseen(checked) + _rules(checked)


def find_files(path: Path) -> list[Path]:
    """All data files of a path.

    Raises:
        DataError: There are none.
    """
    if is_file(path):
        return [path]
    files = data_files(path) if path.is_dir() else []
    if not files:
        raise DataError(path, "no .h5 files", "a data set", "check the path")
    return files


def check_file(file: Path) -> Checked:
    """Check one file; whatever is wrong with it is a finding."""
    torch.set_num_threads(1)
    image = file.parent.parent / "image" / file.name
    paired = file.parent.name == "kspace" and image.is_file()
    try:
        scan = open_scan(file, image if paired else None)
        findings = check_scan(scan, file, training=_set_of(file) in _TRAINING | _HELD_OUT)
        family = _rule(scan.mask) if scan.mask else None
        with open_guarded(file) as opened:
            patient = opened.text("patient_id")
        return Checked(file, tuple(findings), scan.id, family, patient)
    except UserError as error:
        where, found, expected, do = error.args
        item = str(where).removeprefix(f"{file}: ")
        return Checked(file, (Finding("FAIL", str(file), item, found, expected, do),), None, None)
    except Exception as error:
        # one file must not end the check of the others, whatever this is
        found, do = f"{type(error).__name__}: {error}"[:300], "leave it out and report this"
        finding = Finding("FAIL", str(file), "file", found, "a file that can be checked", do)
        return Checked(file, (finding,), None, None)


def _in_children(files: list[Path], workers: int, progress: Callable[[int], None]) -> list[Checked]:
    """Check files in a pool; a file that kills or hangs its child is checked no more."""
    context = multiprocessing.get_context("forkserver")
    # imported once by the server and not by each child: that takes longer than most checks
    context.set_forkserver_preload(["__main__", __name__])
    checked: list[Checked] = []
    left = list(files)
    while left:
        pool = ProcessPoolExecutor(min(workers, len(left)), mp_context=context)
        futures = [(file, pool.submit(check_file, file)) for file in left]
        broken = None
        for file, future in futures:
            try:
                checked.append(future.result(timeout=TIMEOUT_SECONDS))
                progress(1)
            except (BrokenProcessPool, TimeoutError):
                broken = file
                break
        _end(pool)
        done = {one.file for one in checked}
        left = [file for file in left if file not in done]
        if broken is not None:
            checked += _alone(broken, context)
            progress(1)
            left.remove(broken)
    return checked


def _alone(file: Path, context: multiprocessing.context.BaseContext) -> list[Checked]:
    """A file whose pool broke, in a child of its own: it may have been another's fault."""
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return [pool.submit(check_file, file).result(timeout=TIMEOUT_SECONDS)]
        except (BrokenProcessPool, TimeoutError):
            _end(pool)
            do = "copy the file again from its source"
            found = "the HDF5 library crashed or hung on it"
            finding = Finding("FAIL", str(file), "file", found, "a file it can read", do)
            return [Checked(file, (finding,), None, None)]


def _end(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.terminate()
    pool.shutdown(wait=False, cancel_futures=True)


def _pairs(files: list[Path]) -> tuple[list[Finding], list[Path]]:
    """Files without a partner, and the k-space files."""
    findings = []
    for file in files:
        there = missing_partner(file)
        if there is not None:
            do = "copy the missing file, or remove this one"
            expected = "one of the same name"
            findings.append(Finding("FAIL", str(file), "pair", f"no {there}", expected, do))
    return findings, [file for file in files if file.parent.name != "image"]


def _duplicates(checked: list[Checked]) -> list[Finding]:
    """The same scan twice: forbidden across sets, odd within one."""
    findings = []
    for files in _groups(checked, "id"):
        level: Level = "FAIL" if _across(files) else "WARN"
        item = "leak" if _across(files) else "duplicate"
        found, do = f"the same scan as {_names(files[1:])}", "keep each person in one set alone"
        findings.append(Finding(level, str(files[0]), item, found, "one copy", do))
    return findings


def _people(checked: list[Checked]) -> list[Finding]:
    """One person in train and in another set, as `patient_id` tells; the name stays unsaid."""
    findings = []
    for files in _groups(checked, "patient"):
        held_out = [file for file in files if not _trained(file)]
        if _across(files) and held_out:
            found = f"a person of the training set: {_names(held_out)}"
            do = "keep each person in one set alone"
            findings.append(Finding("WARN", str(files[0]), "leak", found, "other people", do))
    return findings


def _groups(checked: list[Checked], key: Literal["id", "patient"]) -> list[list[Path]]:
    """Files that share a value, where more than one does."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for one in checked:
        value = getattr(one, key)
        if value is not None:
            groups[value].append(one.file)
    return [files for files in groups.values() if len(files) > 1]


def _set_of(file: Path) -> str | None:
    """The nearest folder that names a set; those above may be anything, such as /home/train."""
    names = (folder.name for folder in file.absolute().parents)
    return next((name for name in names if name in _TRAINING | _HELD_OUT | _TEST), None)


def _trained(file: Path) -> bool:
    return _set_of(file) in _TRAINING


def _across(files: list[Path]) -> bool:
    return len({_trained(file) for file in files}) > 1


def _names(files: list[Path]) -> str:
    return ", ".join(str(file) for file in files[:3])


def _rule(mask: SamplingMask) -> str:
    """Family and nominal acceleration: "snu X4"; the family alone where R is only estimated."""
    estimated = mask.family in ("random", "custom") or mask.nominal is None
    return mask.family if estimated else f"{mask.family} X{mask.nominal:g}"


def _rules(checked: list[Checked]) -> list[Finding]:
    """Volumes by mask rule: of each set if there are several, and last of the whole."""
    by_set: dict[str, list[Checked]] = defaultdict(list)
    for one in checked:
        by_set[_set_of(one.file) or ""].append(one)
    said = {f"masks of {name}": _counted(by_set[name]) for name in sorted(by_set) if name}
    said = (said if len(by_set) > 1 else {}) | {"masks": _counted(checked)}
    return [Finding("PASS", "all", item, found) for item, found in said.items() if found]


def _unseen(checked: list[Checked]) -> list[Finding]:
    """Sets that hold mask rules of which training has no example.

    Full masks are no rule: where training has no others, its recipe is what draws them.
    """
    masked = [one for one in checked if one.family and one.family != _FULL]
    known = {one.family or "" for one in masked if _trained(one.file)}
    strange: dict[str, list[Checked]] = defaultdict(list)
    for one in masked:
        if known and one.family not in known and (name := _set_of(one.file)):
            strange[name].append(one)
    findings = []
    for name, volumes in sorted(strange.items()):
        found = f"{name} has {_counted(volumes)}"
        expected = f"rules that training has: {', '.join(sorted(known))}"
        do = _advice({one.family or "" for one in volumes}, known)
        findings.append(Finding("WARN", str(volumes[0].file), "masks", found, expected, do))
    return findings


def _advice(strange: set[str], known: set[str]) -> str:
    """What to train with so that these rules are no longer new, and the old ones stay."""
    family = sorted(strange)[0].partition(" X")[0]
    chosen = "masks.kind, masks.accelerations"
    if family in FAMILIES and all(rule.startswith(f"{family} X") for rule in strange):
        rates = [rule.partition(" X") for rule in strange | known]
        said = sorted({int(float(rate)) for name, _, rate in rates if name == family})
        chosen = f"masks.kind={family} masks.accelerations={said}".replace(", ", ",")
    return f"train on such masks too ({chosen}), or expect worse images there"


def _counted(checked: list[Checked]) -> str:
    counts = Counter(one.family for one in checked if one.family)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
