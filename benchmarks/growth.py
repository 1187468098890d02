"""How time and memory of a training step grow with coils, size and cascades: ours and fastmri's.

    python benchmarks/growth.py
    python benchmarks/growth.py --coils 4,16 --sizes 320x184 --cascades 2

One thing grows at a time, the others stay at 8 coils, 320 x 184, 2 cascades. The target's
window is three fifths of the readout, as in the challenge's knees (384 of 640 rows). Each point
measures its rows in turn, and the allocator's peak first.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import torch

from dealias.sizes import said_memory
from pair import Pair, peaks, steps
from record import facts, result_options, save
from rows import OFFICIAL, ROWS
from versus import interleaved
from where import device_options, started

SHOWN = {name: ROWS[name] for name in ("crop", "crop, leanest")}
CHANNELS = 18


class Point(NamedTuple):
    """One network on one size of data."""

    coils: int
    size: str
    cascades: int

    @property
    def shape_CHW(self) -> tuple[int, int, int]:
        """Of k-space."""
        height, width = map(int, self.size.split("x"))
        return self.coils, height, width


def sweeps(
    coils: list[int], sizes: list[str], cascades: list[int], base: Point
) -> dict[str, list[Point]]:
    """What grows, and the points on its way."""
    return {
        "coils": [base._replace(coils=one) for one in coils],
        "size": [base._replace(size=one) for one in sizes],
        "cascades": [base._replace(cascades=one) for one in cascades],
    }


def measured(point: Point, rounds: int, device: torch.device) -> dict[str, Any]:
    """Peak and time of a training step, by row."""
    _, height, width = point.shape_CHW
    target_hw = (3 * height // 5, width)
    pair = Pair(point.shape_CHW, target_hw, (point.cascades, CHANNELS), device)
    found = peaks(pair, SHOWN, "training")
    spent = interleaved(steps(pair, SHOWN, "training"), rounds, device, warm=False)
    return {name: {**one, **spent[name]} for name, one in found.items()}


def main() -> None:
    """Measure, print, and write a result file."""
    parser = options()
    arguments, device = started(parser)
    base = Point(arguments.base_coils, arguments.sizes.split(",")[0], arguments.base_cascades)
    found = sweeps(
        [int(one) for one in arguments.coils.split(",")], arguments.sizes.split(","),
        [int(one) for one in arguments.cascades.split(",")], base,
    )  # fmt: skip
    results: dict[str, Any] = {"facts": facts(device)}
    known: dict[Point, dict[str, Any]] = {}
    start = time.perf_counter()
    for points in found.values():
        for point in points:
            if point not in known:
                known[point] = measured(point, arguments.rounds, device)
                tell(point, known[point])
    results["sweeps"] = {
        what: [{**point._asdict(), "rows": known[point]} for point in points]
        for what, points in found.items()
    }
    print(f"{time.perf_counter() - start:.0f} s in all")
    save("growth", arguments.sizes.split(",")[-1], parser, arguments, results)


def tell(point: Point, found: dict[str, Any]) -> None:
    """A line for each row."""
    where = f"{point.coils}x{point.size}, {point.cascades} cascades"
    for name in (OFFICIAL, *SHOWN):
        one = found[name]
        text = "does not fit"
        if "wall" in one and "peak" in one:
            text = (f"{one['wall'][1]:7.3f} s {one['cpu'][1]:7.3f} CPU s "
                    f"{said_memory(one['peak']):>9}")  # fmt: skip
        print(f"{where:28} {name:14} {text}", flush=True)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coils", default="4,8,16,24")
    parser.add_argument("--sizes", default="320x184,480x276,640x368", help="readout x phase encode")
    parser.add_argument("--cascades", default="1,2,4,8,12")
    parser.add_argument("--base-coils", type=int, default=8, help="while another thing grows")
    parser.add_argument("--base-cascades", type=int, default=2, help="while another thing grows")
    device_options(parser)
    result_options(parser, 3)
    return parser


if __name__ == "__main__":
    main()
