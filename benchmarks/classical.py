"""Iterative reconstructions of one simulated slice, ours against bart's pics, as a ratio.

    python benchmarks/classical.py                        # 16 coils, 320 x 320, X4
    python benchmarks/classical.py --size 8x256x256 --threads 1
    python benchmarks/classical.py --out classical.json   # else benchmarks/results has it

Same k-space, same maps (ours, given to both), same number of iterations and of threads,
interleaved, medians. bart's time has the start of its process and its files in it; with the
iterations asked for here that is little, and the command's own line says how much.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dealias.classical.iterative import CgSense
from dealias.classical.sparse import L1Wavelet, TotalVariation
from dealias.physics.anatomy import Subject, render
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner
from dealias.scan.maps import espirit_maps
from dealias.scan.measurement import Measurement, Needs, Reconstructor, measure
from record import facts, result_options, save
from versus import interleaved

START = "start"
METHODS: dict[str, tuple[Callable[[int], Reconstructor], str]] = {
    "cg-sense": (lambda steps: CgSense(0.01, steps), "-l2 -r 0.01"),
    "l1-wavelet": (lambda steps: L1Wavelet(0.002, steps), "-R W:3:0:0.002"),
    "total-variation": (lambda steps: TotalVariation(0.002, steps), "-R T:3:0:0.002"),
}


def main() -> None:
    """Measure, print, and write a result file."""
    parser = options()
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    results: dict[str, Any] = {"facts": facts(), "bart": version()}
    coils, height, width = map(int, arguments.size.split("x"))
    measurement, kspace_CHW = simulated(coils, (height, width))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), measurement, kspace_CHW)
        calls = compared(measurement, folder, arguments.iterations)
        found = interleaved(calls, arguments.rounds)
    results["start"] = found.pop(START)["wall"]
    results["methods"] = {
        name: {who: found[f"{name}, {who}"]["wall"] for who in ("dealias", "bart")}
        for name in METHODS
    }
    print(f"bart's start and files: {results['start'][1]:.2f} s")
    for name, both in results["methods"].items():
        ours, theirs = both["dealias"][1], both["bart"][1]
        print(f"{name:16} dealias {ours:6.2f}  bart {theirs:6.2f}  ratio {ours / theirs:.2f}")
    save("classical", arguments.size, parser, arguments, results)


def compared(
    measurement: Measurement, folder: str, iterations: int
) -> dict[str, Callable[[], object]]:
    """Every method of ours and of bart's as a call, and what bart needs to begin at all."""
    calls: dict[str, Callable[[], object]] = {START: partial(pics, folder, "-l2 -r 1", 1)}
    for name, (make, penalty) in METHODS.items():
        calls[f"{name}, dealias"] = partial(make(iterations), measurement)
        calls[f"{name}, bart"] = partial(pics, folder, penalty, iterations)
    return calls


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="16x320x320", help="coils x readout x phase encode")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    result_options(parser, 5)
    return parser


def version() -> str:
    """Bart's own."""
    return subprocess.run(["bart", "version"], check=True, capture_output=True,
                          text=True).stdout.strip()  # fmt: skip


def simulated(coils: int, hw: tuple[int, int]) -> tuple[Measurement, torch.Tensor]:
    """A simulated knee at X4: with maps for us, and masked k-space (C, H, W) for bart."""
    scanner = Scanner(hw, hw, coils, snr=30, signal=1.0)
    knee = render("knee", Subject(430, 1), scanner.grid(), np.array([0.0]))
    kspace = torch.from_numpy(scanner.acquire(knee, np.random.default_rng(0))[0])
    mask = snu_mask(hw[1], 4)
    kspace = kspace / kspace.abs().max() * torch.from_numpy(mask.lines.copy())
    maps = espirit_maps(kspace[None, None], [mask], "simulated")
    return measure(kspace[None, None], [mask], hw, Needs(), maps), kspace


def write(folder: Path, measurement: Measurement, kspace_CHW: torch.Tensor) -> None:
    """k-space and maps as bart reads them."""
    assert measurement.sens_BSCHW is not None
    for name, values_CHW in (("k", kspace_CHW), ("s", measurement.sens_BSCHW[0, 0])):
        coils, height, width = values_CHW.shape
        (folder / f"{name}.hdr").write_text(f"# Dimensions\n{height} {width} 1 {coils}\n")
        values_CHW.permute(1, 2, 0).numpy().ravel(order="F").tofile(folder / f"{name}.cfl")


def pics(folder: str, penalty: str, iterations: int) -> None:
    """Run bart."""
    command = ["bart", "pics", "-S", *penalty.split(), "-i", str(iterations), "k", "s", "x"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
