"""Real, fully sampled brain k-space at X4 and X8: a trained VarNet beside classical methods.

    python tools/real_brain.py --run RUN --test brain4ch_t2_tugraz_gpunufft.h5 --tune DATA/val

Writes docs/results.md's table to stdout and its pictures to docs/pictures. Settings of the
classical methods and of bart's pics (on bart's own ecalib maps) are chosen on the tuning data, by
the same protocol, and never on the test slice. Needs Debian's bart.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from peers import Images, Pics
from thinned import thinned

from dealias.atomic import sha256
from dealias.classical.table import METHODS
from dealias.data.catalogue import open_data
from dealias.inference.bundle import load_model
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import VolumeScores
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Scan

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402

PROTOCOL = PROTOCOLS["fastmri"]
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
WEIGHTS = (0.0003, 0.001, 0.003, 0.01, 0.03)
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1)
CROPS = (0.8, 0.01)
Method = Callable[[Scan, SamplingMask], Images]
Setting = tuple[str, Method]


def ours(model: object) -> Method:
    """A dealias method."""
    return lambda scan, mask: reconstruct(model, scan, mask=mask).image_ZHW  # type: ignore[arg-type]


def of_table(name: str) -> list[Setting]:
    """A dealias method at every setting of its grid."""
    row = METHODS[name]
    return [
        (", ".join(f"{key} {value:g}" for key, value in settings.items()),
         ours(row.build(**settings)))
        for settings in row.candidates()
    ]  # fmt: skip


def of_bart(penalty: str, weights: Sequence[float]) -> list[Setting]:
    """Bart's pics at every weight, with maps where there is signal alone and almost everywhere."""
    made = [Pics(penalty, weight, crop) for weight, crop in itertools.product(weights, CROPS)]
    return [(str(one), one) for one in made]


FAMILIES: dict[str, list[Setting]] = {
    "CG-SENSE": of_table("cg-sense"),
    "bart pics, l2": of_bart("-l2 -r {}", RIDGES),
    "L1-wavelet": of_table("l1-wavelet"),
    "bart pics, L1-wavelet": of_bart("-R W:3:0:{}", WEIGHTS),
    "total variation": of_table("total-variation"),
    "GRAPPA": of_table("grappa"),
}
DRAWN = ("zero-filled", "CG-SENSE", "L1-wavelet", "bart pics, L1-wavelet", "VarNet")


def score(method: Method, scan: Scan, rate: int) -> tuple[VolumeScores, Images]:
    """Scores by the protocol, and the images."""
    images_ZHW = method(scan, snu_mask(scan.shape[3], rate))
    return PROTOCOL.score(images_ZHW, scan), images_ZHW


def tuned(family: str, scan: Scan, rate: int) -> Setting:
    """The setting with the best SSIM on the tuning scan."""

    def ssim(setting: Setting) -> float:
        return score(setting[1], scan, rate)[0].ssim or 0

    return max(FAMILIES[family], key=ssim)


def main() -> None:
    """Tune, reconstruct, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="the trained run or model")
    parser.add_argument("--test", type=Path, required=True, help="fully sampled k-space")
    parser.add_argument("--tune", type=Path, required=True, help="data to choose settings on")
    arguments = parser.parse_args()
    test = open_data(arguments.test)[0]
    head = open_data(arguments.tune)[0]
    tuning = thinned(head, range(1, head.slices, 3))
    network = ours(load_model(arguments.run).reconstructor)
    print(f"test {arguments.test.name} sha256 {sha256(arguments.test)}\n")
    print("| R | method | settings | SSIM | PSNR dB | NMSE |")
    print("|---|---|---|---|---|---|")
    for rate in (4, 8):
        methods = {"zero-filled": ("", ours(METHODS["zero-filled"].build()))}
        methods |= {family: tuned(family, tuning, rate) for family in FAMILIES}
        methods["VarNet"] = ("", network)
        images = {}
        for name, (setting, method) in methods.items():
            found, images[name] = score(method, test, rate)
            print(f"| X{rate} | {name} | {setting} | {found.slices[0].ssim:.4f} | "
                  f"{found.psnr:.2f} | {found.nmse:.4f} |", flush=True)  # fmt: skip
        draw(test, {name: images[name] for name in DRAWN}, rate)


def draw(test: Scan, images: dict[str, Images], rate: int) -> None:
    """Images above, errors x5 below, one window."""
    target_ZHW = test.target(0)
    assert target_ZHW is not None
    reference = target_ZHW[0]
    top = float(np.percentile(reference, 99.5))
    figure = Figure(figsize=(2.6 * (len(images) + 1), 5.6), layout="constrained")
    axes = figure.subplots(2, len(images) + 1)
    for column, (name, image) in enumerate({"reference": reference[None], **images}.items()):
        axes[0, column].imshow(image[0], cmap="gray", vmin=0, vmax=top)
        axes[0, column].set_title(name, fontsize=10)
        error = 5 * np.abs(image[0] - reference)
        axes[1, column].imshow(error, cmap="gray", vmin=0, vmax=top)
    axes[1, 0].set_title("error x5", fontsize=10)
    for one in axes.flat:
        one.set_axis_off()
    figure.suptitle(f"X{rate}. Research use only, not a medical device", fontsize=9)
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"real-brain-x{rate}.png", dpi=90)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
