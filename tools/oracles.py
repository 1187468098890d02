"""Each classical method beside its oracle: NMSE on a real brain and on three simulated scans.

    python tools/oracles.py --real brain4ch_t2_tugraz_gpunufft.h5

Prints docs/results.md's second table. It compares algorithms and is no result for anyone's data:
each method and each oracle has the weight (of L1-wavelet the iterations, of ours its levels, of
GRAPPA the width as well) that is best on the very scan; both have the same maps' threshold and the
same mask.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import torch
from peers import Images, Pics, Pygrappa

from dealias.classical.table import METHODS
from dealias.data.catalogue import open_data
from dealias.data.simulate import SimulateSettings, simulate
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.similarity import nmse
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Scan

Method = Callable[[Scan, SamplingMask], Images]
WEIGHTS = (0.0003, 0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.01)
"""Relative to the largest magnitude of A^H y."""
BART = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02)
"""Relative to bart's scale, a quantile."""
RIDGES = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
KERNELS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0)
"""GRAPPA's; pygrappa's mean the same."""
TAPS = (5, 7, 9)
STEPS = (60, 200)
SIMULATED = {
    "simulated brain, 12 coils, SNR 30": {"year": 2024, "coils": 12, "snr": 30, "size": (256, 240)},
    "simulated brain, 6 coils, SNR 12": {"year": 2024, "coils": 6, "snr": 12, "size": (224, 192)},
    "simulated knee, 16 coils, SNR 30": {"year": 2025, "coils": 16, "snr": 30, "size": (320, 224)},
}


def ours(name: str, **values: Sequence[float]) -> list[Method]:
    """A dealias method at each combination of settings."""
    made = [METHODS[name].build(**dict(zip(values, chosen, strict=True)))
            for chosen in product(*values.values())]  # fmt: skip
    return [lambda scan, mask, one=one: reconstruct(one, scan, mask=mask).image_ZHW for one in made]


def barts(penalty: str, weights: Sequence[float], iterations: Sequence[int]) -> list[Method]:
    """Bart's pics at each weight and number of iterations."""
    return [Pics(penalty, weight, 0.8, steps) for weight in weights for steps in iterations]


PAIRS: dict[str, tuple[list[Method], str, list[Method]]] = {
    "CG-SENSE": (ours("cg-sense", regularisation=RIDGES, iterations=(50,)),
                 "bart pics -l2", barts("-l2 -r {}", RIDGES, (100,))),
    "L1-wavelet": (ours("l1-wavelet", regularisation=WEIGHTS, iterations=STEPS, levels=(2, 5)),
                   "bart pics -R W", barts("-R W:3:0:{}", BART, STEPS)),
    # of its ADMM, the step size that converges soonest
    "total variation": (ours("total-variation", regularisation=WEIGHTS, iterations=(200,)),
                        "bart pics -R T", barts("-u 0.01 -R T:3:0:{}", BART, (500,))),
    "GRAPPA": (ours("grappa", regularisation=KERNELS, taps=TAPS),
               "pygrappa", [Pygrappa(weight, taps) for weight in KERNELS for taps in TAPS]),
}  # fmt: skip


def error(method: Method, scan: Scan, mask: SamplingMask) -> float:
    """NMSE of a scan of one slice."""
    target_ZHW = scan.target(slice(None))
    assert target_ZHW is not None
    image = torch.from_numpy(method(scan, mask)).double()
    return float(nmse(image, torch.from_numpy(target_ZHW).double()))


def cases(real: Path) -> Iterator[tuple[str, Scan, int]]:
    """Name, scan and acceleration."""
    (brain,) = open_data(real)
    for rate in (4, 8):
        yield "real brain, 4 coils", brain, rate
    for name, settings in SIMULATED.items():
        with tempfile.TemporaryDirectory() as folder:
            both = SimulateSettings(
                subjects=1, shares=(1, 0, 0), slices=1, accelerations=(4,),
                target=(min(settings["size"]),) * 2, **settings,
            )  # fmt: skip
            simulate(both, Path(folder) / "data", lambda done: None)
            for scan in open_data(Path(folder) / "data"):
                if scan.cell is not None and scan.cell.anatomy in name:
                    yield name, scan, 4


def main() -> None:
    """Reconstruct and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="fully sampled k-space")
    print("| scan | R | method | NMSE | oracle | its NMSE | ratio |\n|---|---|---|---|---|---|---|")
    for name, scan, rate in cases(parser.parse_args().real):
        mask = snu_mask(scan.shape[3], rate)
        for method, (mine, oracle, theirs) in PAIRS.items():
            if method == "GRAPPA" and rate > 4:
                continue  # its oracle finds no kernel in so few ACS lines
            found, wanted = (min(error(f, scan, mask) for f in one) for one in (mine, theirs))
            print(f"| {name} | X{rate} | {method} | {found:.5f} | {oracle} | {wanted:.5f} | "
                  f"{found / wanted:.3f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
