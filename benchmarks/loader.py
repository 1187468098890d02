"""How fast training gets its slices: from HDF5 files and from a cache of them, as a table.

    python benchmarks/loader.py                    # 6 simulated slices of 16 x 640 x 368
    python benchmarks/loader.py --data DATA --split train --rounds 9

"copied" is the time until every byte of k-space lies in one reused buffer, as a copy to a GPU would
have it. "measured" goes on to masked, scaled readout rows, as a network on the CPU is given them.
Cold means that the kernel was told to forget the files (POSIX_FADV_DONTNEED); what a disk or its
host remembers is beyond reach. Warm rows leave out the first pass, with the start of the workers;
cold rows are one pass with it. Configurations take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_split
from dealias.data.keep import Keep
from dealias.data.remask import MaskSettings
from dealias.data.samples import Batch, Samples
from dealias.data.simulate import SimulateSettings, simulate
from dealias.scan.measurement import Needs
from dealias.training.loader import batches
from record import facts, result_options, save
from versus import quartiles

CPU = torch.device("cpu")
PASSES = 4
"""Over the data, where they are warm."""


@dataclass(frozen=True, eq=False)
class Case:
    """One row of the table."""

    what: str
    samples: Samples
    files: list[Path]
    workers: int
    cold: bool
    measured: bool


def main() -> None:
    """Measure, print, and write a result file."""
    parser = options()
    arguments = parser.parse_args()
    results: dict[str, Any] = {"facts": facts(), "simulated": arguments.data is None}
    with tempfile.TemporaryDirectory() as folder:
        cases = list(all_cases(arguments, Path(folder)))
        os.sync()  # pages that are not on disk yet cannot be forgotten
        seconds: dict[Case, list[float]] = {case: [] for case in cases}
        for _ in range(arguments.rounds + 1):  # the first round warms up and is dropped
            for case in cases:
                seconds[case].append(epoch(case))
    first = cases[0].samples
    results["slices"], results["shape_CHW"] = len(first), list(first.scans[0].shape[1:])
    results["cases"] = [row(case, values[1:]) for case, values in seconds.items()]
    print("from        state  workers  until     slices/s  MB/s of k-space")
    for one in results["cases"]:
        speed = 1 / one["seconds"][1]
        print(f"{one['from']:11} {one['state']:5} {one['workers']:8}  {one['until']:9}{speed:9.1f}"
              f"{speed * one['megabytes']:17,.0f}")  # fmt: skip
    size = "x".join(map(str, results["shape_CHW"]))
    save("loader", size, parser, arguments, results)


def row(case: Case, seconds: list[float]) -> dict[str, Any]:
    """A line of the table: what was measured, quartiles of its seconds for a slice."""
    return {
        "from": case.what,
        "state": "cold" if case.cold else "warm",
        "workers": case.workers,
        "until": "measured" if case.measured else "copied",
        "seconds": quartiles(seconds),
        "megabytes": delivered(case) / len(case.samples) / 1e6,
    }


def delivered(case: Case) -> int:
    """Bytes of k-space, or of its rows, that an epoch hands over."""
    total = 0
    for scan in case.samples.scans:
        z, c, h, w = scan.shape
        if scan.cached is not None:
            start, stop = case.samples.needs.rows(h, scan.geometry.target_hw[0])
            h = stop - start
        total += 8 * z * c * h * w
    return total


def epoch(case: Case) -> float:
    """Seconds for a slice, one a batch."""
    if case.cold:
        for path in case.files:
            forget(path)
    count = len(case.samples)
    groups = [(index,) for index in range(count)] * (1 if case.cold else PASSES)
    use = measured(case.samples.needs) if case.measured else copied()
    untimed = 0 if case.cold else count
    start = time.perf_counter()
    for done, batch in enumerate(batches(case.samples, 0, groups, case.workers), start=1):
        use(batch)
        if done == untimed:
            start = time.perf_counter()
    return (time.perf_counter() - start) / (len(groups) - untimed)


def copied() -> Callable[[Batch], object]:
    """Copies k-space into a buffer that is reused."""
    buffer = torch.zeros(0, dtype=torch.complex64)

    def use(batch: Batch) -> None:
        buffer.resize_(batch.kspace_BSCHW.shape).copy_(batch.kspace_BSCHW)

    return use


def measured(needs: Needs) -> Callable[[Batch], object]:
    """Makes the network's measurement."""
    return lambda batch: batch.measurement(needs, CPU)


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def all_cases(arguments: argparse.Namespace, folder: Path) -> Iterator[Case]:
    """Files and cache, warm and cold, with 0, 1 and 2 workers."""
    data = arguments.data or simulated(folder / "data", arguments.slices)
    cache = folder / "cache"
    plan = plan_cache(data, Keep(arguments.margin))
    make_cache(plan, cache, workers=2)
    print(
        f"cache: {plan.bytes / 1e6:.0f} MB with targets, for {plan.whole / 1e6:.0f} MB of k-space"
    )
    needs = Needs(readout_crop=arguments.crop)
    for measured_too in (False, True):
        for what, root in (("HDF5 files", data), ("cache", cache)):
            scans = open_split(root, arguments.split)
            samples = Samples(scans, MaskSettings(kind="snu"), needs, seed=1)
            files = [path for path in root.rglob("*") if path.is_file()]
            for cold in (False, True):
                for workers in (0, 1, 2):
                    if not measured_too or (workers == 0 and not cold):
                        yield Case(what, samples, files, workers, cold, measured_too)


def simulated(folder: Path, slices: int) -> Path:
    """One volume at the challenge's size of a knee."""
    settings = SimulateSettings(
        layout="snu", year=2022, accelerations=(4,), subjects=1, shares=(1, 0, 0), slices=slices,
        coils=16, size=(640, 368), target=(384, 384),
    )  # fmt: skip
    with contextlib.redirect_stdout(None):
        simulate(settings, folder, lambda done: None)
    return folder


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="else simulated")
    parser.add_argument("--split", default="train")
    parser.add_argument("--slices", type=int, default=6, help="of the simulated volume")
    parser.add_argument("--margin", type=int, default=16, help="rows cached beyond the target")
    parser.add_argument("--crop", type=int, default=16, help="the network's readout_crop")
    result_options(parser, 5)
    return parser


if __name__ == "__main__":
    main()
