"""Plant named faults one by one; the suite must fail on every one.

Each mutant names a file, an exact text, its faulty replacement, and the tests that should notice.
Copies of the repository are changed, one for each core, never the working tree. `ARGS=name` runs
some alone.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutant:
    """A fault: in `file`, `old` becomes `new`; `tests` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


def plant(copy: Path, mutant: Mutant) -> str:
    """Put the fault into the copy; gives the sound text back."""
    path = copy / mutant.file
    sound = path.read_text()
    if sound.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: '{mutant.old}' is not once in {mutant.file}")
    path.write_text(sound.replace(mutant.old, mutant.new))
    return sound


def run_tests(copy: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the named tests on the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m"]
    command += ["not slow", *options, *tests.split()]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)


def killed(copy: Path, mutant: Mutant) -> bool:
    """Whether the suite fails on the mutant (an exit code of 1: tests ran and failed)."""
    sound = plant(copy, mutant)
    try:
        return run_tests(copy, mutant.tests).returncode == 1
    finally:
        (copy / mutant.file).write_text(sound)


def all_mutants() -> list[Mutant]:
    """Every fault that is planted."""
    from mutant_list import MUTANTS
    from mutant_list_craft import CRAFT_MUTANTS
    from mutant_list_kernels import KERNEL_MUTANTS
    from mutant_list_networks import NETWORK_MUTANTS
    from mutant_list_runs import RUN_MUTANTS

    return [*MUTANTS, *CRAFT_MUTANTS, *KERNEL_MUTANTS, *NETWORK_MUTANTS, *RUN_MUTANTS]


def judge(copies: queue.SimpleQueue[Path], mutant: Mutant) -> bool:
    """Whether it is found, on a copy that nobody else changes meanwhile; says so."""
    copy, start = copies.get(), time.monotonic()
    try:
        dead = killed(copy, mutant)
    finally:
        copies.put(copy)
    seconds = time.monotonic() - start
    verdict = "killed" if dead else "SURVIVED"
    print(f"{verdict:9} {mutant.name:32} {seconds:5.1f} s  {mutant.file}", flush=True)
    return dead


def main() -> int:
    """Run all mutants, or those named on the command line."""
    wanted = [mutant for mutant in all_mutants() if not sys.argv[1:] or mutant.name in sys.argv[1:]]
    cores = len(os.sched_getaffinity(0))
    copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cores) as pool:
        for number in range(cores):
            copy = Path(folder) / str(number) / "repository"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache"))
            copies.put(copy)
        everything = sorted({test for mutant in wanted for test in mutant.tests.split()})
        print(f"{len(everything)} test files without any fault, then {len(wanted)} faults")
        sound = run_tests(copy, " ".join(everything), "-n", str(cores), "--dist", "worksteal")
        if sound.returncode != 0:
            print(sound.stdout[-3000:])
            raise SystemExit("the tests fail without any fault: mend them first")
        found = list(pool.map(partial(judge, copies), wanted))
    print(f"{sum(found)} of {len(wanted)} faults found by the suite")
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
