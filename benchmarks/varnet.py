"""E2E-VarNet, ours against fastmri 0.3.0's: time and memory, each technique in its own row.

    python benchmarks/varnet.py                          # 12 cascades, 16 x 640 x 368
    python benchmarks/varnet.py --size 16x320x320 --target 320 --cascades 20
    python benchmarks/varnet.py --memory                 # the allocator's peak instead of time

Same weights, same k-space and mask, same loss (1 - SSIM of the target's window), same threads. The
reference gets masked k-space as it wants it; our `measure`, which transforms the readout, is timed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from dealias.engine.allocator import taken
from dealias.engine.policies import MemoryPolicy
from dealias.metrics.similarity import ssim
from dealias.models.layers.unet import UNet
from dealias.models.published import from_fastmri
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure
from versus import facts, interleaved, write

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.models import VarNet as Official

Step = Callable[[], object]
NCHW, NHWC = torch.contiguous_format, torch.channels_last


@dataclass(frozen=True)
class Row:
    """One way to run ours.

    Attributes:
        crop: Margin of the readout crop, or None.
        policy: What is kept.
        layout: Of the denoisers' memory.
    """

    crop: int | None
    policy: MemoryPolicy
    layout: torch.memory_format = NHWC


ROWS = {
    "all rows": Row(None, MemoryPolicy(coils=4)),
    "crop": Row(0, MemoryPolicy(coils=4)),
    "crop, channels first": Row(0, MemoryPolicy(coils=4), NCHW),
    "crop, all coils at once": Row(0, MemoryPolicy()),
    "crop, keep convolutions": Row(0, MemoryPolicy(cascades="keep_convolutions")),
    "crop, recompute": Row(0, MemoryPolicy(cascades="recompute", coils=4)),
    "crop, leanest": Row(0, MemoryPolicy(cascades="recompute", blocks="recompute", coils=1)),
    "all rows, leanest": Row(None, MemoryPolicy(cascades="recompute", blocks="recompute", coils=1)),
}


class Case:
    """One slice, the reference with seeded weights, and ours with the same."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device = torch.device(arguments.device)
        coils, height, width = map(int, arguments.size.split("x"))
        self.sizes = (arguments.cascades, arguments.channels)
        self.target_hw = (min(arguments.target, height), min(arguments.target, width))
        self.mask = snu_mask(width, 4)
        torch.manual_seed(0)
        shape = (1, 1, coils, height, width)
        self.kspace_BSCHW = torch.randn(shape, dtype=torch.complex64).to(self.device)
        full_BHW = rss(ifft(self.kspace_BSCHW[:, 0]), 1)
        self.target_BHW = centre_crop_or_pad(full_BHW, self.target_hw)
        self.official = Official(*(self.sizes[0], 8, 4, self.sizes[1], 4)).to(self.device)

    def loss(self, image_BHW: Tensor) -> Tensor:
        """1 - SSIM of the target's window."""
        return 1 - ssim(image_BHW, self.target_BHW, self.target_BHW.amax()).mean()

    def reference(self) -> tuple[nn.Module, Callable[[], Tensor]]:
        """The official network and its call."""
        lines = torch.as_tensor(self.mask.lines.copy(), device=self.device)
        masked = torch.view_as_real(torch.where(lines, self.kspace_BSCHW[:, 0], 0)).contiguous()
        acs = torch.tensor([self.mask.acs_count], device=self.device)
        shaped = lines.reshape(1, 1, 1, -1, 1)
        return self.official, lambda: centre_crop_or_pad(
            self.official(masked, shaped, acs), self.target_hw
        )

    def ours(self, row: Row) -> tuple[nn.Module, Callable[[], Tensor]]:
        """Ours, with the official weights, and its call."""
        settings = VarNetSettings(
            cascades=self.sizes[0], channels=self.sizes[1], readout_crop=row.crop
        )
        network = VarNet(settings).to(self.device)
        weights = {from_fastmri(name): one for name, one in self.official.state_dict().items()}
        network.load_state_dict(weights)
        row.policy.apply(network)
        for part in network.modules():
            if isinstance(part, UNet):
                part.memory_format = row.layout

        def call() -> Tensor:
            m = measure(self.kspace_BSCHW, [self.mask], self.target_hw, network.needs)
            return m.window(network(m).image_BHW)

        return network, call


def train(network: nn.Module, call: Callable[[], Tensor], case: Case) -> None:
    """Forward, loss and backward."""
    case.loss(call()).backward()
    network.zero_grad(set_to_none=True)


def infer(network: nn.Module, call: Callable[[], Tensor], case: Case) -> None:
    """Forward alone."""
    with torch.no_grad():
        call()


MODES = {"inference": infer, "training": train}


def calls(case: Case, names: list[str], mode: str) -> dict[str, Step]:
    """Every row as a call without arguments."""
    made = {"official": case.reference()} | {name: case.ours(ROWS[name]) for name in names}
    return {name: partial(MODES[mode], *one, case) for name, one in made.items()}


def agreed(case: Case) -> float:
    """How far our image is from the official one, relative: a wrong network is quickly fast."""
    with torch.no_grad():
        wanted, found = case.reference()[1](), case.ours(ROWS["all rows"])[1]()
    return float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))


def peaks(case: Case, names: list[str], mode: str) -> dict[str, float]:
    """GiB at the allocator's peak, weights and input included, by row."""
    found = {}
    for name in ["official", *names]:
        network, call = case.reference() if name == "official" else case.ours(ROWS[name])
        step = partial(MODES[mode], network, call, case)
        step()
        there = sum(p.numel() * p.element_size() for p in network.parameters())
        there += case.kspace_BSCHW.numel() * case.kspace_BSCHW.element_size()
        (one,) = taken([lambda step=step: step], case.device)
        found[name] = round((one.peak + there) / 2**30, 3)
    return found


def main() -> None:
    """Measure, print, and write a result file."""
    arguments = parsed()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    case = Case(arguments)
    names = arguments.rows.split("; ") if arguments.rows else list(ROWS)
    said = {key: str(value) for key, value in vars(arguments).items() if key != "out"}
    results = {"facts": facts(), "arguments": said, "difference": agreed(case)}
    print(results)
    for mode in arguments.modes.split(","):
        if arguments.memory:
            results[mode] = peaks(case, names, mode)
            for name, peak in results[mode].items():
                print(f"{mode:10} {name:26} {peak:7.3f} GiB")
            continue
        results[mode] = interleaved(calls(case, names, mode), arguments.rounds)
        first = results[mode]["official"]
        for name, one in results[mode].items():
            ratios = [one[kind][1] / first[kind][1] for kind in ("wall", "cpu")]
            print(f"{mode:10} {name:26} {one['wall'][1]:8.2f} s {one['cpu'][1]:8.2f} CPU s "
                  f"  ratio {ratios[0]:.3f} / {ratios[1]:.3f}", flush=True)  # fmt: skip
    if arguments.out:
        write(arguments.out, results)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="16x640x368", help="coils x readout x phase encode")
    parser.add_argument("--target", type=int, default=384, help="side of the target's window")
    parser.add_argument("--cascades", type=int, default=12)
    parser.add_argument("--channels", type=int, default=18)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", default="", help=f"some of: {'; '.join(ROWS)}")
    parser.add_argument("--modes", default="inference,training")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--out", type=Path, help="result file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
