"""Make docs/masks.md and its pictures: every family of masks on a simulated brain.

    python tools/masks.py [--out docs]

The same command on the same machine writes the same bytes; the page keeps its date until a number
or a word on it changes.
"""

from __future__ import annotations

import argparse
import datetime
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from dealias.metrics.similarity import nmse, ssim
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.table import FAMILIES
from dealias.physics.scanner import Scanner
from dealias.randomness import generator

matplotlib.use("Agg")
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

HW, COILS, SNR, SEED = (256, 256), 8, 30.0, 430
SHARES = {4: 0.08, 8: 0.04}
"""Accelerations, and the share of ACS lines that fastMRI has for each."""
FLOOR_DB = -60.0
GREYS = 32
DPI, WIDE, ROW = 100, 1108, 310
AT = (8, 304, 580, 844)
"""Pixels: width of a picture, height of a row, where its four tiles begin."""
PAGE = """# The families of masks

**The brain is simulated, and so are its coils, phase and noise. Research use only, not a medical
device.**

Written on {date} by `python tools/masks.py` (a part of `make docs`): {size}, {coils} coils, SNR
{snr:g}, seed {seed}, one draw of each mask. The same command, with the same versions of the
libraries, writes the same page.

Every family of `dealias.physics.sampling.table`, at X4 with {share4:.0%} of ACS lines and at X8
with {share8:.0%}; `snu` has its own 8% at both. Over two axes the share is of each axis, and both
are phase encodes, as in a 3-D scan; the simulated slice stands in for a plane of one.

- *R* is nominal: the spacing of the lattice, or (fractions, random, two axes) of all samples.
- *Effective* is all samples over measured ones, ACS included.
- *Coherence* is the largest sidelobe of the point-spread function over its centre (Lustig et al.
  2007), marked in the plots: a lattice alone has 1, full sampling 0. A densely sampled centre
  widens the main lobe, whose flanks count too. Over two axes the point spread is an image, white
  0 dB, black {floor:g} dB.
- *NMSE* and *SSIM* are the zero-filled image's (root-sum-of-squares over coils, nothing weighted
  for the density of samples) against the fully sampled one's. They say what was lost before any
  reconstruction, mostly how much of the centre was measured: no ranking of what a network makes
  of it.

| family | R | effective | ACS lines | samples | coherence | NMSE | SSIM |
|---|---|---|---|---|---|---|---|
{table}

## Which can be told from the lines alone

`identify`, used wherever a mask is read, makes the mask anew and names a rule only where it gives
exactly these lines, in this order: snu, equispaced, equispaced_fraction, magic, magic_fraction,
partial_fourier, two_lattices, binned. Some draws of two families are the same lines; then the
first is named:

- `magic_fraction` up to a spacing of 16 is `magic` at that spacing: X4 with 8% of ACS lines is
  `magic` X6.
- Two sides that happen to continue each other are `equispaced`, or `snu` where they go through
  the centre and the ACS lines are 8%.
- With fewer than four lines outside the ACS (`binned`: eight whole bins) a mask is `random`.
- `random` has no rule: its R is the width over the number of lines, rounded, and may be off by
  more than one. About one in a thousand random masks of few lines looks `binned`. `bernoulli`
  is `random` as well; as its ACS lines come on top, its R is read too low.
- `poisson_disc` has no two samples side by side where sampling is sparse, `variable_density` as
  many as chance has. `variable_density` is `custom` at X2, and often at X3 and X4 on less than
  96 x 96 points: too little of it is sparse. The fully sampled box is never smaller than the
  ACS, and is larger where samples close up around it.

{families}
Research use only, not a medical device.
"""


@dataclass(frozen=True)
class Seen:
    """One mask, and what is left of the brain through it."""

    mask: SamplingMask
    image_HW: np.ndarray
    nmse: float
    ssim: float

    @classmethod
    def through(cls, mask: SamplingMask, kspace_CHW: torch.Tensor) -> Seen:
        """Zero-fill."""
        reference_HW = rss(ifft(kspace_CHW), 0)
        image_HW = rss(ifft(kspace_CHW * torch.from_numpy(mask.lines.copy())), 0)
        error = float(nmse(image_HW, reference_HW))
        likeness = float(ssim(image_HW, reference_HW, float(reference_HW.max())))
        return cls(mask, image_HW.numpy(), error, likeness)

    def row(self) -> str:
        """A line of the table."""
        mask = self.mask
        acs = f"{mask.acs_count}" if mask.lines.ndim == 1 else f"{_rows(mask)} x {mask.acs_count}"
        return (f"| {mask.family} | X{mask.nominal:g} | {mask.effective:.2f} | {acs} "
                f"| {int(mask.lines.sum())} | {mask.coherence:.3f} | {self.nmse:.4f} "
                f"| {self.ssim:.4f} |")  # fmt: skip


def _rows(mask: SamplingMask) -> int:
    start, stop = mask.acs_rows or (0, 0)
    return stop - start


def brain() -> torch.Tensor:
    """Fully sampled k-space (C, H, W) of one simulated slice."""
    scanner = Scanner(HW, HW, COILS, SNR, 1.0)
    object_ZHW = render("brain", Subject(SEED, 1), scanner.grid(), np.array([0.1]))
    return torch.from_numpy(scanner.acquire(object_ZHW, generator(SEED, "scanner", 1))[0])


def drawn(family: str, rate: int) -> SamplingMask:
    """The mask that is shown."""
    rng = np.random.default_rng([SEED, rate])
    return FAMILIES[family].draw(HW, rate, SHARES[rate], rng)


def picture(reference_HW: np.ndarray, seen: list[Seen], path: Path) -> None:
    """A row for each acceleration: mask, point spread, zero-filled image, its error."""
    high = ROW * len(seen)
    figure = Figure(figsize=(WIDE / DPI, high / DPI), dpi=DPI)
    top = float(np.percentile(reference_HW, 99.5))
    for number, one in enumerate(seen):
        # one pixel a sample: a lattice that is drawn smaller aliases
        bottom = high - ROW * number - 26 - HW[0]
        axes = [figure.add_axes((x / WIDE, bottom / high, HW[1] / WIDE, HW[0] / high)) for x in AT]
        tile(axes[0], f"{one.mask.family} X{one.mask.nominal:g}",
             np.broadcast_to(one.mask.lines, HW).astype(float), 1)  # fmt: skip
        point_spread(axes[1], one.mask)
        tile(axes[2], f"zero-filled, NMSE {one.nmse:.3f}", one.image_HW, top)
        tile(axes[3], "error x3", 3 * np.abs(one.image_HW - reference_HW), top)
    save(figure, path)


def tile(ax: Axes, title: str, image_HW: np.ndarray, top: float) -> None:
    """A grey image."""
    ax.imshow(image_HW, cmap="gray", vmin=0, vmax=top, interpolation="none")
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()


def point_spread(ax: Axes, mask: SamplingMask) -> None:
    """|PSF| in dB: along W, its largest sidelobe marked, or over both axes."""
    spread = np.abs(mask.psf())
    decibels = 20 * np.log10(np.maximum(spread, 10 ** (FLOOR_DB / 20)))
    middle = spread.shape[-1] // 2
    if spread.ndim == 2:
        tile(ax, "", decibels - FLOOR_DB, -FLOOR_DB)
    else:
        lags = np.arange(spread.size) - middle
        ax.plot(lags, decibels, "k", linewidth=0.6)
        # of equal sidelobes the one nearest to the centre
        largest = np.flatnonzero((lags != 0) & (spread > mask.coherence * (1 - 1e-9)))
        peak = largest[np.abs(lags[largest]).argmin()]
        ax.plot(lags[peak], decibels[peak], "o", color="0.35", markersize=6, fillstyle="none")
        ax.set_ylim(FLOOR_DB, 3)
        ax.set_xlim(lags[0], -lags[0])
        ax.set_xticks([-100, -50, 0, 50, 100])
        ax.tick_params(labelsize=7)
    ax.set_title(f"|PSF|, dB; coherence {mask.coherence:.3f}", fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """A small PNG of few greys, without date or version in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, metadata={"Software": None})
    levels = np.asarray(Image.open(buffer).convert("L")).astype(float) * ((GREYS - 1) / 255)
    image = Image.fromarray(levels.round().astype(np.uint8), "P")
    image.putpalette([round(grey * 255 / (GREYS - 1)) for grey in range(GREYS) for _ in "rgb"])
    image.save(path, optimize=True)


def page(rows: list[str], date: str) -> str:
    """The text."""
    parts = [f"## {one.name}\n\n{one.about[0].upper()}{one.about[1:]}.\n\n"
             f"![{one.name} at X4 and X8: mask, point spread, zero-filled image, error]"
             f"(pictures/masks-{one.name}.png)\n" for one in FAMILIES]  # fmt: skip
    return PAGE.format(
        date=date, size=f"{HW[0]} x {HW[1]}", coils=COILS, snr=SNR, seed=SEED, share4=SHARES[4],
        floor=FLOOR_DB, share8=SHARES[8], table="\n".join(rows), families="\n".join(parts),
    )  # fmt: skip


def write_page(path: Path, rows: list[str]) -> None:
    """Write it, but for a page that would change its date alone."""
    today = datetime.date.today().isoformat()
    if path.is_file():
        old = path.read_text()
        before = old.partition("Written on ")[2][: len(today)]
        if before and page(rows, before) == old:
            return
    path.write_text(page(rows, today))


def main() -> None:
    """Draw, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    docs = Path(__file__).resolve().parent.parent / "docs"
    parser.add_argument("--out", type=Path, default=docs, help="folder of the page")
    out = parser.parse_args().out
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    kspace_CHW = brain()
    reference_HW = rss(ifft(kspace_CHW), 0).numpy()
    rows = []
    for family in FAMILIES.names:
        seen = [Seen.through(drawn(family, rate), kspace_CHW) for rate in SHARES]
        picture(reference_HW, seen, out / "pictures" / f"masks-{family}.png")
        rows += [one.row() for one in seen]
        print(*rows[-2:], sep="\n", flush=True)
    write_page(out / "masks.md", rows)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
