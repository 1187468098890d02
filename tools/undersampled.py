"""A brain that was undersampled for real, over both axes: every method, and no reference.

    python tools/undersampled.py --data brain8ch_vd_r8_sigpy.h5 [--run RUN]

Prints docs/results.md's third table and writes docs/pictures/undersampled.png. The only number is
the data-consistency residual: how far an image is from what was measured. A small one is necessary
and not enough: noise that is fitted makes it smaller as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from dealias.classical.table import build_method
from dealias.data.catalogue import open_data
from dealias.errors import UserError
from dealias.inference.bundle import load_model
from dealias.inference.reconstruct import Reconstruction, reconstruct
from dealias.scan.measurement import Reconstructor
from dealias.scan.scan import Scan

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "undersampled.png"
SPECS = (
    "zero-filled", "cg-sense:regularisation=0.01", "l1-wavelet:regularisation=0.002",
    "total-variation:regularisation=0.001", "grappa",
)  # fmt: skip
"""The defaults' order of magnitude: there is nothing to tune on."""


def main() -> None:
    """Reconstruct, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="k-space with its mask")
    parser.add_argument("--run", help="a trained run or model")
    arguments = parser.parse_args()
    scan = open_data(arguments.data)[0]
    models: dict[str, Reconstructor] = {spec: build_method(spec) for spec in SPECS}
    if arguments.run:
        models["VarNet"] = load_model(arguments.run).reconstructor
    images = {}
    print("| method | residual |\n|---|---|")
    for name, model in models.items():
        found = attempted(model, scan)
        if isinstance(found, UserError):
            print(f"| {name} | refused: {found} |")
            continue
        images[name] = found.image_ZHW[0]
        print(f"| {name} | {'' if found.residual_Z is None else f'{found.residual_Z[0]:.3f}'} |")
    draw(images)


def attempted(model: Reconstructor, scan: Scan) -> Reconstruction | UserError:
    """The reconstruction, or why there is none."""
    try:
        return reconstruct(model, scan)
    except UserError as error:
        return error


def draw(images: dict[str, np.ndarray]) -> None:
    """All images, each by its own window."""
    figure = Figure(figsize=(2.6 * len(images), 3.9), layout="constrained")
    axes = figure.subplots(1, len(images))
    for axis, (name, image_HW) in zip(axes, images.items(), strict=True):
        axis.imshow(image_HW, cmap="gray", vmin=0, vmax=np.percentile(image_HW, 99.7))
        axis.set_title(name.partition(":")[0], fontsize=10)
        axis.set_axis_off()
    figure.suptitle("No reference exists. Research use only, not a medical device", fontsize=9)
    figure.savefig(PICTURE, dpi=90)


if __name__ == "__main__":
    main()
