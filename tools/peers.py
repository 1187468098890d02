"""Other people's reconstructions, to be compared with: Debian's bart, and pygrappa."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Scan

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pygrappa import grappa

Images = np.ndarray


@dataclass(frozen=True)
class Pics:
    """bart ecalib and pics.

    Attributes:
        penalty: Options of the penalty, with {} for its weight.
        weight: Its weight, relative to bart's own scaling of the data.
        crop: ecalib's threshold of the eigenvalue below which maps are zero.
        iterations: Of pics.
    """

    penalty: str
    weight: float
    crop: float
    iterations: int = 100

    def __call__(self, scan: Scan, mask: SamplingMask) -> Images:
        """Magnitude images (Z, H, W) on the target's grid."""
        return np.stack([self._slice(scan, mask, z) for z in range(scan.slices)])

    def __str__(self) -> str:
        return f"{self.penalty.format(f'{self.weight:g}')}, ecalib -c {self.crop:g}"

    def _slice(self, scan: Scan, mask: SamplingMask, z: int) -> Images:
        kspace_CHW = scan.kspace(z)[0] * mask.lines
        coils, height, width = kspace_CHW.shape
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            write_cfl(here / "k", kspace_CHW.transpose(1, 2, 0), (height, width, 1, coils))
            calibration = calibration_size(mask, height)
            bart(here, "ecalib", "-m1", "-r", calibration, "-c", str(self.crop), "k", "s")
            penalty = self.penalty.format(self.weight).split()
            bart(here, "pics", "-S", *penalty, "-i", str(self.iterations), "k", "s", "x")
            maps_HWC = read_cfl(here / "s", (height, width, coils))
            # what coils would see: where maps are 0, x is the penalty's guess
            image_HW = np.abs(read_cfl(here / "x", (height, width))) * np.linalg.norm(
                maps_HWC, axis=2
            )
        return on_target(torch.from_numpy(image_HW), scan)


@dataclass(frozen=True)
class Pygrappa:
    """pygrappa, with windows in which a kernel meets two measured lines.

    Attributes:
        weight: Its Tikhonov weight.
        taps: Readout samples of its windows.
    """

    weight: float
    taps: int

    def __call__(self, scan: Scan, mask: SamplingMask) -> Images:
        """Magnitude images (Z, H, W) on the target's grid."""
        return np.stack([self._slice(scan, mask, z) for z in range(scan.slices)])

    def __str__(self) -> str:
        return f"lamda {self.weight:g}, {self.taps} taps"

    def _slice(self, scan: Scan, mask: SamplingMask, z: int) -> Images:
        kspace_CHW = scan.kspace(z)[0] * mask.lines
        peak = np.abs(kspace_CHW).max()
        unit = kspace_CHW / peak
        window = (self.taps, 2 * int(mask.nominal or 1) + 1)
        calibration = unit[:, :, slice(*mask.acs)]
        filled = grappa(unit, calibration, window, coil_axis=0, lamda=self.weight)
        images_CHW = ifft(torch.from_numpy(np.ascontiguousarray(filled.astype(np.complex64))))
        return on_target(rss(images_CHW, 0) * float(peak), scan)


def on_target(image_HW: torch.Tensor, scan: Scan) -> Images:
    """float32 on the grid of the scan's target."""
    return centre_crop_or_pad(image_HW.float(), scan.geometry.target_hw).numpy()


def calibration_size(mask: SamplingMask, height: int) -> str:
    """What -r of ecalib says: the ACS along both axes, 24 at most along a fully sampled readout."""
    start, stop = mask.acs_rows or (0, min(height, 24))
    return f"{stop - start}:{mask.acs_count}:1"


def bart(folder: Path, *arguments: str) -> None:
    """Run bart in a folder."""
    subprocess.run(["bart", *arguments], cwd=folder, check=True, capture_output=True)


def write_cfl(path: Path, values: np.ndarray, shape: Sequence[int]) -> None:
    """Write bart's format: column-major complex64."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, shape)) + "\n")
    values.reshape(shape, order="A").astype(np.complex64).ravel(order="F").tofile(f"{path}.cfl")


def read_cfl(path: Path, shape: Sequence[int]) -> np.ndarray:
    """Read bart's format."""
    return np.fromfile(f"{path}.cfl", np.complex64).reshape(shape, order="F")
