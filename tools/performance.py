"""Make docs/performance.md and its pictures from the files in benchmarks/results.

    python tools/performance.py [--results benchmarks/results] [--out docs]

The newest file of each measurement and machine is shown; the same files write the same page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import performance_pictures as draw  # noqa: E402
import performance_tables as show  # noqa: E402
from performance_results import Result, of_kind, read, size  # noqa: E402

from rows import (  # noqa: E402
    ABOUT_OFFICIAL,
    ABOUT_OFFICIAL_READY,
    COMPILED,
    OFFICIAL_READY,
    PARKED,
    ROWS,
)  # noqa: E402

PAGE = """# Performance

Written by `python tools/performance.py` (a part of `make docs`) from the files in
`benchmarks/results`, each of which names its machine, versions and arguments. `make bench` measures
anew on a CPU, `make bench-gpu` on a GPU.

- Ours and fastMRI's have the same weights, data, loss and threads, and take turns. On a CPU each is
  in a process of its own, as its users run it: ours keeps freed memory and chooses instructions
  (`dealias.engine.cpu`); one more row gives fastMRI's the same. How far the two images are apart is
  told with each table.
- Networks see noise: neither time nor memory depends on what an image shows.
- *Seconds* are the median of the rounds, quartiles in brackets; *CPU seconds* add up all threads.
- *Peak* is the most that torch's allocator held in one step, buffers inside kernels, weights and
  k-space included; the state of an optimiser is not.
- *Ratio* is to the official network: 0.25 is a quarter of its time or memory.
- On a GPU both compute in float32 (no TF32). "In 8GiB" holds torch to what a card of that size
  leaves for tensors, 512 MiB being CUDA's own.

## The rows

| row | what it does |
| --- | --- |
{rows}

Outputs of all but the crop are the official network's up to rounding; memory policies change
nothing but rounding ([a page about them](guide/memory.md)). The crop is exact for the measured
data and changes what the denoisers see.

{sections}"""


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the page")
    arguments = parser.parse_args()
    results = read(arguments.results)
    pictures = arguments.out / "pictures"
    for old in pictures.glob("performance-*.png"):
        old.unlink()
    for one in results:
        draw_it = SECTIONS[one.kind].draw
        if draw_it is not None:
            draw_it(one, pictures / picture(one))
    (arguments.out / "performance.md").write_text(page(results))


def page(results: Sequence[Result]) -> str:
    """The text."""
    rows = [f"| official | {ABOUT_OFFICIAL} |"]
    rows += [f"| {OFFICIAL_READY} (on a CPU) | {ABOUT_OFFICIAL_READY} |"]
    rows += [f"| {name} | {row.about} |" for name, row in ROWS.items()]
    rows += [f"| {name} (on a GPU) | {row.about} |" for name, row in PARKED.items()]
    rows += [f"| {name} (on demand on a CPU) | {row.about} |" for name, row in COMPILED.items()]
    parts = [section(kind, of_kind(results, kind)) for kind in SECTIONS]
    return PAGE.format(rows="\n".join(rows), sections="\n\n".join(parts)) + "\n"


def section(kind: str, found: Sequence[Result]) -> str:
    """One kind of measurement, and where it was not made."""
    one = SECTIONS[kind]
    devices = {"a CPU": False, "a GPU": True} if one.gpu else {"a CPU": False}
    there = {result.on_gpu for result in found}
    missing = [name for name, gpu in devices.items() if gpu not in there]
    summary = [one.summary(found)] if one.summary is not None and found else []
    parts = [f"## {one.title}", one.lead, *summary, *[part(result) for result in found]]
    if missing:
        parts.append(f"Not measured yet on {' or '.join(missing)}.")
    return "\n\n".join(parts)


def part(result: Result) -> str:
    """One result file: its heading, machine, picture and tables."""
    one = SECTIONS[result.kind]
    parts = [f"### {heading(result)}", result.measured()]
    if one.draw is not None:
        parts.append(f"![{one.title}: {heading(result)}](pictures/{picture(result)})")
    return "\n\n".join(parts + one.tables(result))


def heading(result: Result) -> str:
    """What distinguishes a result from others of its kind."""
    said, facts = result.values["arguments"], result.facts
    parts = [facts["gpu"]["name"] if facts["gpu"] else facts["cpu"]]
    if result.kind.startswith("varnet"):
        parts = [f"{said['cascades']} cascades", size(said["size"]), *parts]
        parts = [said["mode"], *parts] if said.get("mode") else parts
    if result.kind == "networks":
        parts = [said["case"], size(said["size"]), *parts]
    if result.kind == "classical":
        parts = [size(said["size"]), f"{said['iterations']} iterations", *parts]
    if result.kind == "loader":
        parts = [f"slices of {' x '.join(map(str, result.values['shape_CHW']))}", *parts]
    if said.get("cap"):
        parts.append(f"held to {said['cap']}")
    return ", ".join(parts)


def picture(result: Result) -> str:
    """Its file's name."""
    return f"performance-{result.name}.png"


def _difference(result: Result) -> str:
    found = result.values["difference"]
    return f"Our image (all rows) is {found:.1e} from the official one, relative, in float32."


def _times(result: Result) -> list[str]:
    modes = [mode for mode in ("training", "inference") if mode in result.values]
    tables = [show.times(result, mode) for mode in modes]
    return [_difference(result), *tables, *_first(result)]


def _networks(result: Result) -> list[str]:
    commit = result.values["commit"][:8]
    off = result.values["difference"]
    said = f"Published code at commit {commit}; our image is {off:.1e} from its, relative."
    modes = [mode for mode in ("training", "inference") if mode in result.values]
    tables = [show.times(result, mode) for mode in modes]
    memory = [
        show.peaks(result, (f"{mode} memory",))
        for mode in modes
        if f"{mode} memory" in result.values
    ]
    return [said, *tables, *memory]


def _full_size(result: Result) -> list[str]:
    return [show.full_size(result)]


def _first(result: Result) -> list[str]:
    """What compiling costs, apart from the steps that come after."""
    first = result.values.get("first", {}).get("training", {})
    said = [f"The first training step of *{name}*, in which torch compiles, took {seconds:.0f} s."
            for name, seconds in first.items()]  # fmt: skip
    return [" ".join(said)] if said else []


def _plans(result: Result) -> list[str]:
    modes = [show.plans(result, mode) for mode in ("training", "inference")]
    return [*modes, show.planning(result)]


def _loader(result: Result) -> list[str]:
    data = "simulated slices" if result.values["simulated"] else "slices of a data set"
    return [f"{result.values['slices']} {data}.", show.loader(result)]


def _classical(result: Result) -> list[str]:
    start = f"{result.values['start'][1]:.2f} s"
    text = f"bart {result.values['bart']}; its start and files take {start} of each of its times."
    return [text, show.classical(result)]


@dataclass(frozen=True)
class Section:
    """How one kind of measurement is shown.

    Attributes:
        title: Of the section.
        lead: What was measured.
        tables: Makes the text of one result.
        draw: Makes its picture, or None.
        gpu: Whether it can be measured on a GPU too.
        summary: Makes a table of all results, or None.
    """

    title: str
    lead: str
    tables: Callable[[Result], list[str]]
    draw: Callable[[Result, Path], None] | None
    gpu: bool
    summary: Callable[[Sequence[Result]], str] | None = None


SECTIONS = {
    "varnet": Section(
        "Time",
        "One slice of E2E-VarNet. Training is forward, loss and backward. Our `measure`, which "
        "masks and transforms the readout, is in both.\n\n"
        "Where it says \"CPU kernels dealias's\", 3x3 convolutions and normalisation of ours "
        "are computed by kernels of our own: Winograd's filtering takes 36 products where "
        "oneDNN takes 144 ([decision "
        "15](decisions/0015-convolutions-on-a-cpu-are-our-own.md)). Elsewhere, and in rows "
        "with channels first or torch.compile, both networks call torch's. Neighbours on the "
        "host move every row here, by up to a half from hour to hour, and ratios by a sixth.",
        _times, draw.bars, True),
    "varnet-memory": Section(
        "Memory",
        "The same steps, watched by torch's own allocator.",
        lambda result: [_difference(result), show.peaks(result)], draw.bars, True),
    "growth": Section(
        "How it grows",
        "A training step while coils, size or cascades grow and the others stay. The target's "
        "window is three fifths of the readout, as in knees of 640 rows.",
        lambda result: [show.growth(result)], draw.growth, True),
    "plan": Section(
        "The plan against the truth",
        "`dealias plan` counts without running the network, and measures single operations once "
        "([how](guide/plan.md)); here it is held against real steps in the same process. Filled "
        "marks are training, empty ones inference. *Of sgemm*: the time that the FLOPs would take "
        "at the speed of this machine's matrix product (`dealias doctor`), over the time measured.",
        _plans, draw.plans, True),
    "networks": Section(
        "Networks against the code they were published in",
        "Same weights, k-space and mask; training is forward, sum and backward. First all of them, "
        "as ratios of CPU seconds and of peaks to the published code's: with everything kept, with "
        "cascades recomputed (coils two at a time), and at the leanest. Then each.\n\n"
        "Recomputation brings the training of unrolled networks down to a quarter of the "
        "published code's memory or less; but for HUMUS-Net, PromptMR+, large kernels and linear "
        "layers, of which the gradients of the weights alone are more at these sizes, and dHUMUS. "
        "Half of its time is reached on a CPU by the two Mambas alone, "
        "beside a loop in Python: elsewhere convolutions, attention and matrix products are the "
        "same kernels in both, and "
        "recomputation takes a third more of them. In training dHUMUS computes all its "
        "scales, so that the choice among them learns; the published code computes one. "
        "MambaRecon's published code needs a CUDA kernel: here it was given the reference of it in "
        "PyTorch that mamba-ssm publishes (`selective_scan_ref`), a loop over all "
        "tokens. Of the VarNet around it memory in training is counted by the tensors that live "
        "and what each kernel takes for itself: the profiler, which tells the allocator's count, "
        "notes more of that loop than it measures. Of MambaRecon at 16 x 16 the two counts are 1 % "
        "apart (published code) and equal (ours).",
        _networks, None, True, show.networks),
    "full-size": Section(
        "Full-size PromptMR+",
        "A training step with Adam: 92.9 million parameters, five slices of 15 coils, 640 x 368, "
        "384 rows kept, cascades and blocks recomputed, one coil at a time.",
        _full_size, None, True),
    "loader": Section(
        "Getting slices",
        "Training reads HDF5 files, or a [cache](guide/cache.md) of them. "
        "*Copied* is until k-space lies in one reused buffer, *measured* until masked, scaled "
        "readout rows are ready for a network. Cold: the kernel was told to forget the files.",
        _loader, draw.loader, False),
    "classical": Section(
        "Classical methods",
        "Ours against bart's `pics` on a simulated knee at X4: the same k-space, maps, iterations "
        "and threads.",
        _classical, None, False),
}  # fmt: skip

if __name__ == "__main__":
    main()
