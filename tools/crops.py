"""Why some crops break a measurement, and what compressing coils costs, on simulated scans.

    python tools/crops.py --out crops --page docs/results.md

First without any training: the truth after each crop, against the samples that the mask says were
measured, the best that whoever honours these samples can do, and what CG-SENSE makes of them. With
--seeds also the same small network, trained alike on each form of the data, its maps ESPIRiT's.
Prints docs/results.md's tables, with --page puts them there, and draws docs/pictures/crops.png. The
crops that break the measurement live in this file alone: no recipe can ask for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from readout_crop import CPU, Study, simulated
from torch import Tensor

from dealias.atomic import write_bytes
from dealias.classical.iterative import CgSense
from dealias.config.compose import load_recipe
from dealias.data.catalogue import open_split
from dealias.data.remask import MaskSettings
from dealias.data.samples import Batch, Samples, collate
from dealias.evaluation.scores import Scores, summarise
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import protocol_named
from dealias.models.network import Network
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.randomness import generator, torch_seed
from dealias.runs.footprint import Footprint
from dealias.runs.rehearsal import train_once
from dealias.runs.size import Size
from dealias.scan.measurement import Estimate, Measurement, Needs, Reconstructor, measure
from dealias.scan.scan import Cell, Geometry, Scan
from dealias.scan.virtual_coils import CompressionSettings

matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402

ANATOMIES = ("brain", "knee")
RATES = (4, 8)
PROTOCOL = protocol_named("snu2025")
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "crops.png"
BEGIN, END = "<!-- crops: begin -->", "<!-- crops: end -->"
COILS = 8
AT_A_QUARTER = Study(shrink=4, train=1, test=3, slices=2, coils=COILS)
AT_AN_EIGHTH = Study(shrink=8, train=8, test=4, slices=2, coils=COILS)
FULL = Size(16, (768, 396), (384, 384))
"""A brain of the challenge."""
Crop = Literal["image", "k-space"] | None
Array = npt.NDArray[Any]
SMALL = VarNetSettings(cascades=3, channels=6, pools=2, maps="espirit")


@dataclass(frozen=True)
class Form:
    """A form of the data or the network.

    Attributes:
        name: For the tables.
        changes: Of what a network asks of the data, by its settings' names.
        crop: A crop that breaks the measurement, or None.
    """

    name: str
    changes: tuple[tuple[str, Any], ...] = ()
    crop: Crop = None


def compressed(kind: str, keep: int) -> Form:
    """So many virtual coils."""
    settings = CompressionSettings(kind=kind, keep=keep)  # type: ignore[arg-type]
    return Form(f"{kind.upper()}, {keep} of {COILS} coils", changes=(("compression", settings),))


FORMS = (
    Form("as measured"),
    Form("readout cropped", (("readout_crop", 0),)),
    Form("image cropped", crop="image"),
    Form("k-space cropped", crop="k-space"),
    *(compressed(kind, keep) for kind in ("scc", "gcc") for keep in (4, 2)),
)
"""The first is what the others are compared with."""
Totals = dict[Form, tuple[float, float, float]]
"""SSIM of brain, of knee, and the protocol's total."""


@dataclass(frozen=True)
class CroppedSource:
    """What a crop makes of a scan's masked k-space; the target stays."""

    scan: Scan
    crop: Crop
    masked: bool = True

    def kspace(self, z: slice) -> Array:
        """(Z, C, h, w) complex64 on the target's grid."""
        kspace_ZCHW = torch.from_numpy(self.scan.kspace(z))
        if self.masked and self.scan.mask is not None:
            kspace_ZCHW = kspace_ZCHW * torch.from_numpy(self.scan.mask.lines.copy())
        return on_grid(kspace_ZCHW, self.crop, self.scan.geometry.target_hw).numpy()

    def image(self, kind: Any, z: slice) -> Array | None:
        """The scan's own."""
        return self.scan.image(kind, z)


def on_grid(kspace_CHW: Tensor, crop: Crop, hw: tuple[int, int]) -> Tensor:
    """k-space cropped, or that of the cropped image; padded where it is smaller."""
    if crop == "k-space":
        return centre_crop_or_pad(kspace_CHW, hw)
    return fft(centre_crop_or_pad(ifft(kspace_CHW), hw))


def seen(scan: Scan, rate: int, crop: Crop) -> Scan:
    """A scan with its mask, after a crop: mask and k-space are cropped alike, as was done."""
    anatomy = scan.cell.anatomy if scan.cell else ""
    scan = replace(scan, mask=snu_mask(scan.shape[3], rate), cell=Cell(anatomy, rate))
    if crop is None or scan.mask is None:
        return scan
    hw = scan.geometry.target_hw
    lines = centre_crop_or_pad(torch.from_numpy(scan.mask.lines.copy())[None], (1, hw[1]))[0]
    moved = hw[1] // 2 - scan.shape[3] // 2
    start, stop = (end + moved for end in scan.mask.acs)
    mask = SamplingMask(lines.numpy(), (start, stop), float(rate))
    return replace(
        scan, source=CroppedSource(scan, crop), mask=mask, geometry=Geometry(hw, hw),
        shape=(*scan.shape[:2], *hw),
    )  # fmt: skip


def honest_best(scan: Scan, rate: int, form: Form) -> tuple[float, float, float]:
    """What a form leaves possible, without any network.

    Returns:
        How far the truth is from the samples that count as measured, relative; the share of the
        data's energy that lies where nothing counts as measured; and the SSIM of the truth with the
        measured samples put in: the best of all who honour them.
    """
    view, every = seen(scan, rate, form.crop), slice(0, scan.slices)
    assert view.mask is not None
    given = torch.from_numpy(view.kspace(every))
    truth = given
    lines = torch.from_numpy(view.mask.lines.copy())
    if form.crop is not None:
        whole = seen(scan, rate, None)
        truth = torch.from_numpy(CroppedSource(whole, form.crop, masked=False).kspace(every))
    else:
        given = given * lines
    norm = torch.linalg.vector_norm
    off = norm((truth - given)[..., lines]) / norm(truth[..., lines])
    outside = norm(given[..., ~lines]) ** 2 / norm(given) ** 2
    best = torch.where(lines, given, truth)
    needs = Needs(**dict(form.changes))
    full = SamplingMask(np.ones(len(lines), bool), view.mask.acs)
    m = measure(best[:, None], [full] * len(best), view.geometry.target_hw, needs)
    return float(off), float(outside), ssim(m.window(m.zero_filled()).numpy(), view)


@dataclass(frozen=True)
class Asking:
    """A classical method that is given a form's coils and rows."""

    needs: Needs
    method: Reconstructor

    def __call__(self, measurement: Measurement) -> Estimate:
        """What the method makes of it."""
        return self.method(measurement)


def iterative(scan: Scan, rate: int, form: Form) -> Array:
    """CG-SENSE of a form, (Z, H, W)."""
    method = CgSense()
    needs = replace(method.needs, **dict(form.changes))
    return reconstruct(Asking(needs, method), seen(scan, rate, form.crop)).image_ZHW


def solved(scans: Sequence[Scan], form: Form) -> float:
    """SSIM of CG-SENSE over scans and accelerations."""
    pairs = [(scan, rate) for scan in scans for rate in RATES]
    return fmean(ssim(iterative(*pair, form), seen(*pair, form.crop)) for pair in pairs)


def ssim(image_ZHW: Array, view: Scan) -> float:
    """Mean over slices."""
    return fmean(PROTOCOL.score(image_ZHW, view).ssim)


def built(form: Form, seed: int) -> VarNet:
    """The same weights for every form; denoisers begin by changing nothing."""
    torch.manual_seed(torch_seed(seed, "weights"))
    network = VarNet(VarNetSettings(**{**SMALL.model_dump(), **dict(form.changes)}))
    for name, parameter in network.named_parameters():
        if ".last." in name:
            torch.nn.init.zeros_(parameter)
    return network


def batches_of(scans: Sequence[Scan]) -> list[Batch]:
    """Each slice with its maps; what a form's network leaves out of it, it leaves out itself."""
    needs, area = Needs(maps="espirit"), load_recipe("demo").loss.area
    samples = Samples(tuple(scans), MaskSettings(), needs, 0, area)
    return [collate([samples[0, index]]) for index in range(len(samples))]


def trained(form: Form, batches: Sequence[Batch], steps: int, seed: int) -> Network:
    """Adam with a cosine, the demo's loss; the order of slices is the seed's alone."""
    network, loss = built(form, seed).train(), load_recipe("demo").loss
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        batch = batches[int(generator(seed, "order", step).integers(len(batches)))]
        optimiser.zero_grad()
        train_once(network, batch, loss, CPU)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return network.eval()


def judged(network: Network, views: Sequence[Scan]) -> Scores:
    """By the challenge's protocol."""
    images = [reconstruct(network, view).image_ZHW for view in views]
    found = [PROTOCOL.score(image, view) for image, view in zip(images, views, strict=True)]
    return summarise(PROTOCOL, found)


def views(study: Study, out: Path, split: str, crop: Crop) -> list[Scan]:
    """Each scan of a split at each acceleration."""
    folders = [simulated(study, anatomy, out) for anatomy in ANATOMIES]
    scans = [one for folder in folders for one in open_split(folder, split)]
    return [seen(one, rate, crop) for one in scans for rate in RATES]


def beyond(study: Study, out: Path) -> str:
    """How much of the image's energy lies beyond the target's rows, by anatomy."""
    shares = []
    for anatomy in ANATOMIES:
        rows = study.sizes(anatomy)[1][0]
        scans = open_split(simulated(study, anatomy, out), "val")
        images = [ifft(torch.from_numpy(one.kspace(slice(0, one.slices)))) for one in scans]
        inner = [centre_crop_or_pad(one, (rows, one.shape[-1])) for one in images]
        kept = [torch.linalg.vector_norm(a) / torch.linalg.vector_norm(b)
                for a, b in zip(inner, images, strict=True)]  # fmt: skip
        shares.append(f"{anatomy} {fmean(1 - float(one) ** 2 for one in kept):.3f}")
    return f"Energy of the image beyond the target's rows: {', '.join(shares)}."


def possible(study: Study, out: Path) -> str:
    """The table of what a form leaves possible."""
    head = ("form", "aliases in the data / by the mask, pixels", "truth against the samples",
            "energy off the mask", "best SSIM, brain", "knee", "CG-SENSE, brain",
            "knee")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for form in FORMS:
        cells, best, images = [], [], []
        for anatomy in ANATOMIES:
            (_, width), (_, target) = study.sizes(anatomy)
            scans = open_split(simulated(study, anatomy, out), "val")
            found = [honest_best(one, rate, form) for one in scans for rate in RATES]
            off, outside, score = (fmean(part) for part in zip(*found, strict=True))
            apart = width if form.crop != "k-space" else target
            believed = width if form.crop is None else target
            cells.append((f"{apart / 4:.2f} / {believed / 4:.2f}", f"{off:.3f}", f"{outside:.3f}"))
            best.append(f"{score:.4f}")
            images.append(f"{solved(scans, form):.4f}")
        both = [" and ".join(dict.fromkeys(part)) for part in zip(*cells, strict=True)]
        lines.append("| " + " | ".join([form.name, *both, *best, *images]) + " |")
    return "\n".join(lines)


def learned(study: Study, out: Path, steps: int, seed: int) -> Totals:
    """SSIM that networks of one seed come to with each form."""
    crops = dict.fromkeys(form.crop for form in FORMS)
    batches = {crop: batches_of(views(study, out, "train", crop)) for crop in crops}
    tests = {crop: views(study, out, "val", crop) for crop in crops}
    found: Totals = {}
    for form in FORMS:
        scores = judged(trained(form, batches[form.crop], steps, seed), tests[form.crop])
        found[form] = (of(scores, "brain"), of(scores, "knee"), scores.total)
        print(f"{form.name}, seed {seed}: {scores.total:.4f}", flush=True)
    return found


def table(seeds: Sequence[Totals]) -> str:
    """Means over seeds, and how much each seed differs from the first form."""
    head = ("form", "SSIM brain", "knee", "all", "minus as measured", "by seed")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    plain = FORMS[0]
    for form in FORMS:
        means = [fmean(one[form][part] for one in seeds) for part in range(3)]
        less = [one[form][2] - one[plain][2] for one in seeds]
        cells = [form.name, *(f"{mean:.4f}" for mean in means)]
        if form != plain:
            cells += [f"{fmean(less):+.4f}", ", ".join(f"{one:+.4f}" for one in less)]
        else:
            cells += ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def of(scores: Scores, anatomy: str) -> float:
    """Mean SSIM of an anatomy over accelerations."""
    return fmean(cell.mean for cell in scores.cells if cell.anatomy == anatomy)


def counted() -> str:
    """Memory of a training step at the challenge's size, counted without running it."""
    rows = [
        ("geekseek_fivarnet", "as measured", []),
        ("geekseek_fivarnet", "readout cropped", ["network.readout_crop=0"]),
        ("geekseek_fivarnet", "block crop 384 x 384", ["network.block_crop=[384,384]"]),
        ("geekseek_varnet", "as measured", []),
        ("geekseek_varnet", "readout cropped", ["network.readout_crop=0"]),
        ("geekseek_varnet", "GCC, 8 of 16 coils", ["network.compression={kind: gcc, keep: 8}"]),
    ]
    lines = ["| recipe | form | data and activations, GiB | all, GiB |", "|---|---|---|---|"]
    for name, form, overrides in rows:
        recipe = load_recipe(name, overrides)
        need = Footprint(recipe, FULL, "cpu", None, None).need(recipe.memory)
        held = need.training.peak - need.training.weights
        lines.append(f"| {name} | {form} | {held / 2**30:.2f} | {need.total / 2**30:.2f} |")
    return "\n".join(lines)


def draw(scan: Scan) -> None:
    """The middle slice by CG-SENSE at X4: images above, their errors below."""
    target_ZHW, middle = scan.target(slice(0, scan.slices)), scan.slices // 2
    assert target_ZHW is not None
    columns = {"reference": target_ZHW[middle]}
    columns |= {form.name: iterative(scan, 4, form)[middle] for form in FORMS}
    figure = Figure(figsize=(1.55 * len(columns), 3.6), layout="constrained")
    top, bottom = figure.subplots(2, len(columns))
    bright = float(columns["reference"].max())
    for above, below, (name, image_HW) in zip(top, bottom, columns.items(), strict=True):
        above.imshow(image_HW, cmap="gray", vmin=0, vmax=0.8 * bright)
        error_HW = abs(image_HW - columns["reference"])
        below.imshow(error_HW, cmap="inferno", vmin=0, vmax=0.25 * bright)
        above.set_title(name.replace(", ", ",\n"), fontsize=8)
        above.set_axis_off()
        below.set_axis_off()
    title = "Simulated brain, X4, CG-SENSE; below: error, up to a quarter of the maximum"
    figure.suptitle(title, fontsize=9)
    figure.savefig(PICTURE, dpi=90)


def main() -> None:
    """Count, train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where simulated scans lie")
    parser.add_argument("--page", type=Path, help="put the tables here")
    parser.add_argument("--steps", type=int, default=1500, help="of each training")
    parser.add_argument("--seeds", type=int, default=0, help="trainings of each form")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for size in ("quarter", "eighth"):
        (arguments.out / size).mkdir(parents=True, exist_ok=True)
    quarter = arguments.out / "quarter"
    parts = [possible(AT_A_QUARTER, quarter), f"{counted()}\n\n{beyond(AT_A_QUARTER, quarter)}"]
    print("\n\n".join(parts), flush=True)
    draw(views(AT_A_QUARTER, quarter, "val", None)[0])
    seeds: list[Totals] = []
    for seed in range(arguments.seeds):
        eighth = arguments.out / "eighth"
        seeds.append(learned(AT_AN_EIGHTH, eighth, arguments.steps, seed))
        parts[2:] = [table(seeds)]
        print(parts[2], flush=True)
    if arguments.page is not None:
        text = "\n\n".join(parts)
        before, _, rest = arguments.page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        write_bytes(arguments.page, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


if __name__ == "__main__":
    main()
