"""Each classical method beside its oracle: NMSE on a real brain and on three simulated scans.

    python tools/oracles.py --test brain4ch_t2_tugraz_gpunufft.h5 --tune DATA/val

Prints docs/results.md's second table. Each method and each oracle has its weight chosen by NMSE on
other data: the real brain's on the slice in the middle of DATA's first scan, the simulated ones' on
another simulated person. Both have the same maps' threshold and the same mask.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from peers import Images, Pics, Pygrappa
from thinned import thinned

from dealias.classical.table import METHODS
from dealias.data.catalogue import open_data
from dealias.data.simulate import SimulateSettings, simulate
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.similarity import nmse
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Scan

Method = Callable[[Scan, SamplingMask], Images]
WEIGHTS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.01, 0.02)
"""Relative to the largest magnitude of A^H y."""
BART = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.018, 0.03)
"""Relative to bart's scale, a quantile."""
RIDGES = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
KERNELS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""GRAPPA's; pygrappa's mean the same."""
SIMULATED = {
    "simulated brain, 12 coils, SNR 30": {"year": 2024, "coils": 12, "snr": 30, "size": (256, 240)},
    "simulated brain, 6 coils, SNR 12": {"year": 2024, "coils": 6, "snr": 12, "size": (224, 192)},
    "simulated knee, 16 coils, SNR 30": {"year": 2025, "coils": 16, "snr": 30, "size": (320, 224)},
}


def ours(name: str, weights: Sequence[float], **settings: int) -> list[Method]:
    """A dealias method at each weight."""
    made = [METHODS[name].build(regularisation=weight, **settings) for weight in weights]
    return [lambda scan, mask, one=one: reconstruct(one, scan, mask=mask).image_ZHW for one in made]


PAIRS: dict[str, tuple[list[Method], str, list[Method]]] = {
    "CG-SENSE": (ours("cg-sense", RIDGES, iterations=50), "bart pics -l2",
                 [Pics("-l2 -r {}", weight, 0.8) for weight in RIDGES]),
    "L1-wavelet": (ours("l1-wavelet", WEIGHTS, iterations=100), "bart pics -R W",
                   [Pics("-R W:3:0:{}", weight, 0.8) for weight in BART]),
    "total variation": (ours("total-variation", WEIGHTS, iterations=100), "bart pics -R T",
                        [Pics("-R T:3:0:{}", weight, 0.8) for weight in BART]),
    "GRAPPA": (ours("grappa", KERNELS), "pygrappa", [Pygrappa(weight) for weight in KERNELS]),
}  # fmt: skip


def error(method: Method, scan: Scan, mask: SamplingMask) -> float:
    """NMSE of a scan of one slice."""
    target_ZHW = scan.target(slice(None))
    assert target_ZHW is not None
    image = torch.from_numpy(method(scan, mask)).double()
    return float(nmse(image, torch.from_numpy(target_ZHW).double()))


def tuned(methods: Sequence[Method], tune: Scan, test: Scan, rate: int) -> float:
    """The test scan's NMSE at the weight that is best on the other scan."""
    masks = [snu_mask(scan.shape[3], rate) for scan in (tune, test)]
    best = min(methods, key=lambda method: error(method, tune, masks[0]))
    return error(best, test, masks[1])


def cases(real: Path, tune: Path) -> Iterator[tuple[str, Scan, Scan, int]]:
    """Name, scan to tune on, scan to test on, acceleration."""
    (test,), head = open_data(real), open_data(tune)[0]
    for rate in (4, 8):
        yield "real brain, 4 coils", thinned(head, [head.slices // 2]), test, rate
    for name, settings in SIMULATED.items():
        with tempfile.TemporaryDirectory() as folder:
            both = SimulateSettings(
                subjects=2, shares=(0, 1, 0), slices=1, accelerations=(4,),
                target=(min(settings["size"]),) * 2, **settings,
            )  # fmt: skip
            simulate(both, Path(folder) / "data", lambda done: None)
            scans = [one for one in open_data(Path(folder) / "data") if _is(one, name)]
            yield name, scans[0], scans[1], 4


def _is(scan: Scan, name: str) -> bool:
    return scan.cell is not None and scan.cell.anatomy in name


def main() -> None:
    """Tune, reconstruct, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=Path, required=True, help="real, fully sampled k-space")
    parser.add_argument("--tune", type=Path, required=True, help="data to choose weights on")
    arguments = parser.parse_args()
    print("| scan | R | method | NMSE | oracle | its NMSE | ratio |\n|---|---|---|---|---|---|---|")
    for name, tune, test, rate in cases(arguments.test, arguments.tune):
        for method, (mine, oracle, theirs) in PAIRS.items():
            if method == "GRAPPA" and rate > 4:
                continue  # its oracle finds no kernel in so few ACS lines
            found, wanted = (tuned(one, tune, test, rate) for one in (mine, theirs))
            print(f"| {name} | X{rate} | {method} | {found:.5f} | {oracle} | {wanted:.5f} | "
                  f"{found / wanted:.3f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
