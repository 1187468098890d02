"""Real, fully sampled brain k-space at X4 and X8: a trained VarNet beside classical methods.

    python tools/real_brain.py --run RUN --test brain4ch_t2_tugraz_gpunufft.h5 --tune DATA/val

Writes docs/results.md's table to stdout and its pictures to docs/pictures. Settings of CG-SENSE and
of bart's pics (l2 and L1-wavelet, on bart's own ecalib maps) are chosen on the tuning data, by the
same protocol; the test slice is looked at once, with the settings found. Needs Debian's bart.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch

from dealias.atomic import sha256
from dealias.classical.iterative import CgSense, ZeroFilled
from dealias.data.catalogue import open_data
from dealias.inference.bundle import load_model
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import VolumeScores
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.scan import Cell, Scan

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402

PROTOCOL = PROTOCOLS["fastmri"]
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
Images = np.ndarray
Method = Callable[[Scan, SamplingMask], Images]


@dataclass(frozen=True)
class Pics:
    """bart ecalib and pics.

    Attributes:
        penalty: Options of the penalty, with {} for its weight.
        weight: Its weight, relative to bart's own scaling of the data.
        crop: ecalib's threshold of the eigenvalue below which maps are zero.
    """

    penalty: str
    weight: float
    crop: float

    def __call__(self, scan: Scan, mask: SamplingMask) -> Images:
        """Magnitude images (Z, H, W) on the target's grid."""
        return np.stack([self._slice(scan, mask, z) for z in range(scan.slices)])

    def _slice(self, scan: Scan, mask: SamplingMask, z: int) -> Images:
        kspace_CHW = scan.kspace(z)[0] * mask.lines
        coils, height, width = kspace_CHW.shape
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            write_cfl(here / "k", kspace_CHW.transpose(1, 2, 0), (height, width, 1, coils))
            bart(here, "ecalib", "-m1", "-r", str(mask.acs_count), "-c", str(self.crop), "k", "s")
            penalty = self.penalty.format(self.weight).split()
            bart(here, "pics", "-S", *penalty, "-i", "100", "k", "s", "x")
            image_HW = np.abs(read_cfl(here / "x", (height, width)))
        rows, columns = scan.geometry.target_hw
        top, left = height // 2 - rows // 2, width // 2 - columns // 2
        return image_HW[top : top + rows, left : left + columns].astype(np.float32)


def bart(folder: Path, *arguments: str) -> None:
    """Run bart in a folder."""
    subprocess.run(["bart", *arguments], cwd=folder, check=True, capture_output=True)


def write_cfl(path: Path, values: np.ndarray, shape: Sequence[int]) -> None:
    """Write bart's format: column-major complex64."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, shape)) + "\n")
    values.reshape(shape, order="A").astype(np.complex64).ravel(order="F").tofile(f"{path}.cfl")


def read_cfl(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read bart's format."""
    return np.fromfile(f"{path}.cfl", np.complex64).reshape(shape, order="F")


def ours(model: object) -> Method:
    """A dealias method."""
    return lambda scan, mask: reconstruct(model, scan, mask=mask).image_ZHW  # type: ignore[arg-type]


FAMILIES: dict[str, list[tuple[str, Method]]] = {
    "CG-SENSE": [
        (f"lambda {weight:g}, {steps} iterations", ours(CgSense(weight, steps)))
        for weight, steps in itertools.product((0.001, 0.003, 0.01, 0.03, 0.1), (10, 30))
    ],
    "bart pics, l2": [
        (f"-l2 -r {weight:g}, ecalib -c {crop:g}", Pics("-l2 -r {}", weight, crop))
        for weight, crop in itertools.product((0.001, 0.003, 0.01, 0.03, 0.1), (0.8, 0.01))
    ],
    "bart pics, L1-wavelet": [
        (f"-R W:3:0:{weight:g}, ecalib -c {crop:g}", Pics("-R W:3:0:{}", weight, crop))
        for weight, crop in itertools.product((0.0003, 0.001, 0.003, 0.01, 0.03), (0.8, 0.01))
    ],
}


def score(method: Method, scan: Scan, rate: int) -> tuple[VolumeScores, Images]:
    """Scores by the protocol, and the images."""
    images_ZHW = method(scan, snu_mask(scan.shape[3], rate))
    return PROTOCOL.score(images_ZHW, scan), images_ZHW


def tuned(family: str, scans: Sequence[Scan], rate: int) -> tuple[str, Method]:
    """The setting with the best mean SSIM over the tuning scans."""

    def mean(method: Method) -> float:
        return float(np.mean([score(method, scan, rate)[0].ssim or 0 for scan in scans]))

    return max(FAMILIES[family], key=lambda setting: mean(setting[1]))


def main() -> None:
    """Tune, reconstruct, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="the trained run or model")
    parser.add_argument("--test", type=Path, required=True, help="fully sampled k-space")
    parser.add_argument("--tune", type=Path, required=True, help="data to choose settings on")
    arguments = parser.parse_args()
    test = open_data(arguments.test)[0]
    tuning = [every_third(scan) for scan in open_data(arguments.tune)[:1]]
    network = ours(load_model(arguments.run).reconstructor)
    print(f"test {arguments.test.name} sha256 {sha256(arguments.test)}\n")
    print("| R | method | settings | SSIM | PSNR dB | NMSE |")
    print("|---|---|---|---|---|---|")
    for rate in (4, 8):
        methods = {"zero-filled": ("", ours(ZeroFilled()))}
        methods |= {family: tuned(family, tuning, rate) for family in FAMILIES}
        methods["VarNet (dealias)"] = ("", network)
        images = {}
        for name, (setting, method) in methods.items():
            found, images[name] = score(method, test, rate)
            print(f"| X{rate} | {name} | {setting} | {found.slices[0].ssim:.4f} | "
                  f"{found.psnr:.2f} | {found.nmse:.4f} |", flush=True)  # fmt: skip
        draw(test, images, rate)


def every_third(scan: Scan) -> Scan:
    """A scan of every third slice: enough to choose a number by."""
    chosen = range(1, scan.slices, 3)
    return Thinned.of(scan, chosen)


@dataclass(frozen=True)
class Thinned:
    """A source that has some of another's slices."""

    scan: Scan
    chosen: range

    @staticmethod
    def of(scan: Scan, chosen: range) -> Scan:
        """The scan with these slices alone."""
        shape = (len(chosen), *scan.shape[1:])
        source = Thinned(scan, chosen)
        return Scan(scan.name, shape, scan.mask, scan.full, scan.geometry, source,
                    Cell("brain", 4), scan.data_range)  # fmt: skip

    def kspace(self, z: slice) -> np.ndarray:
        """k-space of the chosen slices."""
        return np.concatenate([self.scan.kspace(i) for i in self.chosen[z]])

    def image(self, kind: str, z: slice) -> np.ndarray | None:
        """Images of the chosen slices."""
        found = [self.scan.image(kind, i) for i in self.chosen[z]]  # type: ignore[arg-type]
        return None if found[0] is None else np.concatenate(found)  # type: ignore[arg-type]


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
