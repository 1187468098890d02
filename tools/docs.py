"""Make the guide's pictures and the notebook: `make docs`. All data in them are simulated."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import torch

import dealias
from dealias.classical.iterative import CgSense
from dealias.data.catalogue import open_data
from dealias.data.simulate import SimulateSettings, simulate
from dealias.inference.reconstruct import reconstruct
from dealias.physics.fourier import ifft
from dealias.physics.sampling.snu import snu_mask

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guide"
PICTURES = GUIDE / "pictures"


def show(name: str, rows: list[list[tuple[str, np.ndarray]]], width: float = 9.0) -> None:
    """Grey images in rows, one window each."""
    figure = Figure(figsize=(width, width / len(rows[0]) * len(rows) * 1.12), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for row, images in zip(axes, rows, strict=True):
        for ax, (title, image) in zip(row, images, strict=True):
            ax.imshow(image, cmap="gray", vmax=np.percentile(image, 99.5), interpolation="none")
            ax.set_title(title, fontsize=9)
            ax.set_axis_off()
    figure.savefig(PICTURES / name, dpi=110)


def pictures() -> None:
    """Coils, mask and result of one simulated brain slice."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        size, target = (384, 256), (192, 256)
        settings = SimulateSettings(subjects=3, slices=1, coils=8, size=size, target=target)
        simulate(settings, data, lambda done: None)
        scan = open_data(data / "train" / "kspace" / "brain_acc4_1.h5")[0]
        kspace_CHW = torch.from_numpy(scan.kspace(0)[0])
        coil_images = ifft(kspace_CHW).abs().numpy()[:, 96:288]
        magnitude = np.log10(kspace_CHW[0].abs().numpy() + 1e-8)
        coils = [(f"coil {c + 1}", coil_images[c]) for c in (0, 2, 4)]
        show("coils.png", [[("k-space of one coil, log", magnitude[96:288]), *coils]])
        mask = snu_mask(256, 8)
        psf = np.abs(mask.psf())[None].repeat(64, 0)
        lines = mask.lines[None].repeat(64, 0).astype(float)
        result = reconstruct(CgSense(), scan, mask=mask)
        show("mask.png", [[("X8 mask", lines), ("its point-spread function", np.sqrt(psf))]], 7)
        dealias.plot(result, scan).savefig(PICTURES / "result.png", dpi=110)


CELLS = [
    ("md", "# First steps\n\nOpen k-space, reconstruct it, score it, look at it. `guide-data` is "
     "simulated: `dealias simulate --subjects 3 --slices 2 --coils 6 --size 128x96 --out "
     "guide-data`. Research use only, not a medical device."),
    ("code", 'import dealias\n\nscans = dealias.open("guide-data/leaderboard")\n'
     "[(scan.name, scan.shape, scan.mask.nominal) for scan in scans]"),
    ("md", "A classical method stands where a model stands; so does a run folder: "
     "`dealias.load('runs/a')`."),
    ("code", 'model = dealias.load("cg-sense")\nscan = scans[0]\n'
     "result = dealias.reconstruct(model, scan)\nresult.image_ZHW.shape, result.residual_Z"),
    ("code", 'scores = dealias.score(result, scan, "snu2025")\n'
     "assert all(s > 0 for s in scores.ssim)\nscores.slices"),
    ("code", "dealias.plot(result, scan, z=0)"),
]  # fmt: skip


def notebook() -> None:
    """The notebook, without outputs."""
    make = {"md": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [make[kind](text) for kind, text in CELLS]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), GUIDE / "first-steps.ipynb")


if __name__ == "__main__":
    pictures()
    notebook()
    sys.exit(0)
