"""Checking a whole data set; each file in a child process, so that a crash is a finding."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from dealias.data.across import duplicates, people
from dealias.data.cached import find_cache
from dealias.data.catalogue import data_files, is_file, missing_partner
from dealias.data.check_cache import check_cache
from dealias.data.checks import check_scan
from dealias.data.findings import Checked, Finding
from dealias.data.rules import counted_rules, rule, unseen_rules
from dealias.data.sets import trained_on, validated_on
from dealias.errors import DataError, UserError
from dealias.io.guard import open_guarded
from dealias.io.open import open_scan

TIMEOUT_SECONDS = 600


def check(
    path: Path, workers: int = 2, progress: Callable[[int], None] = lambda done: None
) -> list[Finding]:
    """Check a file or a whole data set.

    Args:
        path: What; of a cache, every file is read and compared with the hash of what was written.
        workers: Child processes.
        progress: Called with 1 after each file.

    Returns:
        Findings of all files, then those that concern several.

    Raises:
        DataError: There is nothing to check.
    """
    cache = find_cache(path)
    if cache is not None:
        return check_cache(cache, progress)
    files = find_files(path)
    findings, kspace = _pairs(files)
    if not kspace and not findings:
        do = "name the folder that holds kspace and image"
        raise DataError(path, "images alone", "files of k-space", do)
    checked = _in_children(kspace, workers, progress)
    for one in checked:
        findings += one.findings
    findings += duplicates(checked) + people(checked)
    return findings + unseen_rules(checked) + counted_rules(checked)


def find_files(path: Path) -> list[Path]:
    """All data files of a path, or of the part of a cache that it names.

    Raises:
        DataError: There are none.
    """
    cache = find_cache(path)
    if cache is not None:
        return [cache.root / volume.file for volume in cache.below()]
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
        findings = check_scan(scan, file, training=trained_on(file) or validated_on(file))
        family = rule(scan.mask) if scan.mask else None
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
        broken = None
        for file, future in _submitted(pool, left):
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


def _submitted(pool: ProcessPoolExecutor, files: list[Path]) -> list[tuple[Path, Future[Checked]]]:
    """What a pool takes: one whose child dies early takes no more, and the rest has another."""
    futures = []
    for file in files:
        try:
            futures.append((file, pool.submit(check_file, file)))
        except BrokenProcessPool:
            break
    return futures


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
