"""The Python API: open, load, reconstruct, score, plot.

    >>> import dealias
    >>> scan = dealias.open("data/leaderboard/acc4")[0]
    >>> model = dealias.load("runs/a")
    >>> result = dealias.reconstruct(model, scan)
    >>> dealias.score(result, scan, "snu2025").slices[0].ssim
    >>> dealias.plot(result, scan, z=3).savefig("slice.png")

Research use only, not a medical device.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from dealias.data.catalogue import open_data
from dealias.engine.device import choose_device
from dealias.inference.bundle import load_model
from dealias.inference.flips import flips_of
from dealias.inference.reconstruct import Reconstruction
from dealias.inference.reconstruct import reconstruct as _reconstruct
from dealias.metrics.protocol import protocol_named
from dealias.metrics.scores import VolumeScores
from dealias.report.figures import ERROR_GAIN
from dealias.scan.measurement import Reconstructor
from dealias.scan.scan import Scan

__all__ = ["load", "open", "plot", "reconstruct", "score"]


def open(path: str | Path) -> tuple[Scan, ...]:
    """Open k-space: a file, a folder, or a whole set in the SNU or fastMRI layout.

    Args:
        path: Where it is.

    Returns:
        The scans in a stable order; nothing large is read yet.

    Raises:
        DataError: A file cannot be used; the message names it.
    """
    return open_data(Path(path))


def load(model: str | Path, device: str | None = None) -> Reconstructor:
    """Load a model, ready to reconstruct.

    Args:
        model: A run folder, a model folder, a .safetensors file, or the name of a classical method
            ("zero-filled", "cg-sense").
        device: "cpu", "cuda", or None to choose.

    Returns:
        The model on that device.

    Raises:
        CheckpointError: It is no model that can be used.
    """
    return load_model(str(model), device=choose_device(device)).reconstructor


def reconstruct(
    model: Reconstructor, scan: Scan, device: str | None = None, flips: str | None = None
) -> Reconstruction:
    """Reconstruct all slices of a scan under its own sampling mask.

    Args:
        model: From `load`, on the same device.
        scan: From `open`.
        device: "cpu", "cuda", or None to choose.
        flips: "readout", "phase", "both", or several of them: these flips of the measurement are
            reconstructed as well, and the mean of all passes is the image.

    Returns:
        image_ZHW float32 in the data's units, zero_filled_ZHW, and residual_Z.

    Raises:
        DataError: The k-space holds NaN or infinity, or there is no mask.
        SettingsError: Flips that are unknown.
    """
    return _reconstruct(model, scan, device=choose_device(device), flips=flips_of(flips))


def score(
    result: Reconstruction | npt.NDArray[np.float32], scan: Scan, protocol: str
) -> VolumeScores:
    """Score a reconstruction against the scan's target.

    Args:
        result: From `reconstruct`, or images (Z, H, W).
        scan: The scan, with a target.
        protocol: Such as "snu2025" or "fastmri".

    Returns:
        SSIM, PSNR and NMSE of each slice, with the protocol they belong to.

    Raises:
        DataError: There is no target, or its scale does not suit the protocol.
        SettingsError: Unknown protocol.
    """
    images = result.image_ZHW if isinstance(result, Reconstruction) else result
    return protocol_named(protocol).score(images, scan)


def plot(result: Reconstruction, scan: Scan, z: int = 0) -> Figure:
    """One slice: zero-filled, reconstruction, and, where a target is known, target and error x5.

    Args:
        result: From `reconstruct`.
        scan: The same scan.
        z: The slice.

    Returns:
        A matplotlib figure; all images share one window.
    """
    target_ZHW = scan.target(z)
    images = [("Zero-filled", result.zero_filled_ZHW[z]), ("Reconstruction", result.image_ZHW[z])]
    if target_ZHW is not None:
        error = ERROR_GAIN * np.abs(result.image_ZHW[z] - target_ZHW[0])
        images += [("Reference", target_ZHW[0]), (f"Error x{ERROR_GAIN}", error)]
    top = np.percentile(images[min(2, len(images) - 1)][1], 99.8)
    figure = Figure(figsize=(3 * len(images), 3.3), layout="constrained")
    for axes, (title, image) in zip(figure.subplots(1, len(images)), images, strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=top)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.supxlabel("Research use only, not a medical device", fontsize=7)
    return figure
