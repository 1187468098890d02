"""E2E-VarNet, ours against fastmri 0.3.0's: time and memory, each technique in its own row.

    python benchmarks/varnet.py --mode training          # 12 cascades, 16 x 640 x 368
    python benchmarks/varnet.py --mode inference --size 16x320x320 --target 320 --cascades 20
    python benchmarks/varnet.py --memory                 # the allocator's peak instead of time
    python benchmarks/varnet.py --device cuda --cap 8GiB # as on a card of 8 GiB

Same weights, same k-space and mask, same loss (1 - SSIM of the target's window), same threads. The
reference gets masked k-space as it wants it; our `measure`, which transforms the readout, is timed.
On a GPU one more row parks tensors in the CPU's memory; on a CPU they are there already. Another
row compiles the denoisers: `--rows "crop; crop, compiled"` measures it on a CPU as well.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import torch

from dealias.engine.cpu import prepare_inference
from dealias.engine.machine import compiling_on
from dealias.sizes import said_memory
from pair import MODES, Pair, Step, peaks, steps
from record import facts, result_options, save
from rows import COMPILED, OFFICIAL, PARKED, ROWS, Row, rows_of
from versus import interleaved, within
from where import device_options, started


def main() -> None:
    """Measure, print, and write a result file."""
    # what torch compiled before would make compiling look quick
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    parser = options()
    arguments, device = started(parser)
    rows = chosen(parser, arguments.rows, device)
    if arguments.mode == "inference" and device.type == "cpu":
        prepare_inference()
    results: dict[str, Any] = {"facts": facts(device)}
    coils, height, width = map(int, arguments.size.split("x"))
    target_hw = (arguments.target, arguments.target)
    sizes = (arguments.cascades, arguments.channels)
    pair = Pair((coils, height, width), target_hw, sizes, device)
    results["difference"] = pair.difference()
    print(results)
    for mode in [arguments.mode] if arguments.mode else list(MODES):
        if arguments.memory:
            results[mode] = peaks(pair, rows, mode)
        else:
            calls = steps(pair, rows, mode)
            results.setdefault("first", {})[mode] = first_steps(calls, rows, device)
            results[mode] = interleaved(calls, arguments.rounds, device)
        tell(mode, results[mode], arguments.cap)
    save("varnet-memory" if arguments.memory else "varnet", arguments.size, parser, arguments,
         results)  # fmt: skip


def chosen(parser: argparse.ArgumentParser, names: str, device: torch.device) -> dict[str, Row]:
    """The rows asked for, or all that differ on this device."""
    known = ROWS | PARKED | COMPILED
    found = rows_of(device)
    if names:
        if unknown := [name for name in names.split("; ") if name not in known]:
            parser.error(f"--rows: found '{unknown[0]}'; expected {'; '.join(known)}")
        found = {name: known[name] for name in names.split("; ")}
    if device.type == "cpu" and (parked := [name for name in found if name in PARKED]):
        parser.error(f"--rows {parked[0]}: on a CPU everything is in its memory already; "
                     "add --device cuda")  # fmt: skip
    if any(row.compiled for row in found.values()) and (why := compiling_on(device)) != "works":
        print(f"compiled rows are left out: {why}")
        found = {name: row for name, row in found.items() if not row.compiled}
    return found


def first_steps(
    calls: dict[str, Step], rows: dict[str, Row], device: torch.device
) -> dict[str, float]:
    """Seconds of the first step of each compiled row, which compiles."""
    found = {}
    for name, row in rows.items():
        start = time.perf_counter()
        if row.compiled and within(lambda name=name: calls[name]() or True, device):
            found[name] = round(time.perf_counter() - start, 1)
    return found


def tell(mode: str, found: dict[str, Any], cap: str) -> None:
    """A line for each row, and how it compares with the official one."""
    first = found[OFFICIAL]
    for name, one in found.items():
        if "fits" in one:
            text = f"does not fit in {cap or 'memory'}"
        elif "peak" in one:
            text = said_memory(one["peak"])
            text += f"   ratio {one['peak'] / first['peak']:.3f}" if "peak" in first else ""
        else:
            text = f"{one['wall'][1]:8.3f} s {one['cpu'][1]:8.3f} CPU s"
            if "wall" in first:
                ratios = [one[kind][1] / first[kind][1] for kind in ("wall", "cpu")]
                text += f"   ratio {ratios[0]:.3f} / {ratios[1]:.3f}"
        print(f"{mode:10} {name:26} {text}", flush=True)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="16x640x368", help="coils x readout x phase encode")
    parser.add_argument("--target", type=int, default=384, help="side of the target's window")
    parser.add_argument("--cascades", type=int, default=12)
    parser.add_argument("--channels", type=int, default=18)
    parser.add_argument(
        "--rows", default="", help=f"some of: {'; '.join(ROWS | PARKED | COMPILED)}"
    )
    parser.add_argument(
        "--mode", choices=list(MODES), help="alone, in a process that may be prepared for it"
    )
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    device_options(parser)
    result_options(parser, 5)
    return parser


if __name__ == "__main__":
    main()
