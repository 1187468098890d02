r"""A network against the code it was published in: time and memory of inference and training.

    PYTHONPATH=tests:tests/parity python benchmarks/networks.py \
        --script tests/parity/dircn.py --source CHECKOUT --case dircn-published --size 8x320x320

The script is one that `docs/parity.md` tells of: it knows how the published network is made and
called. Same weights, same k-space and mask, float32, the loss is the sum of the image. Ours keeps
everything, and in another row recomputes cascades, blocks, and coils one at a time.
"""

from __future__ import annotations

import argparse
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import golden
from dealias.engine.allocator import taken
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.models.table import build_network
from dealias.scan.measurement import measure
from record import facts, result_options, save
from rows import LEANEST, OFFICIAL
from shared import maps_for
from varnet import tell
from versus import interleaved
from where import device_options, started

MODES = ("inference", "training")
CENTRE = 0.08
"""Share of the lines that are ACS lines."""
Call = Callable[[], Tensor]


def step(call: Call, network: nn.Module, mode: str) -> None:
    """One image; in training with its gradients, which are dropped."""
    with torch.set_grad_enabled(mode == "training"):
        image = call()
    if mode == "training":
        image.sum().backward()
        network.zero_grad(set_to_none=True)


def both(case: Any, kspace: Tensor) -> dict[str, tuple[nn.Module, Call]]:
    """The published network and ours with its weights, by row."""
    width = kspace.shape[-1]
    half = max(2, round(CENTRE * width / 2))
    recipe = {"width": width, "every": 4, "first": 1, "acs": [width // 2 - half, width // 2 + half]}
    mask = golden.mask(recipe)
    masked = torch.where(torch.tensor(mask.lines), kspace, 0)
    theirs = case.make().float()
    rows = {OFFICIAL: (theirs, partial(case.call, theirs, masked, mask))}
    for name, policy in (("all kept", MemoryPolicy()), ("leanest", LEANEST)):
        network = build_network(case.settings)
        network.load_state_dict(case.published.convert(dict(theirs.named_parameters())))
        try:
            policy.apply(network)
        except SettingsError:  # it has no coils, or no cascades
            continue

        def call(network: Any = network) -> Tensor:
            masks = [mask] * len(kspace)
            maps = maps_for(network.needs, kspace, masks)
            m = measure(kspace, masks, tuple(kspace.shape[-2:]), network.needs, maps)
            return m.window(network(m).image_BHW)

        rows[name] = (network, call)
    return rows


def chosen(script: str, source: Path, name: str) -> Any:
    """The case of that name, of a script that the published code can be imported for."""
    sys.path.insert(0, str(source))
    cases: Sequence[Any] = runpy.run_path(script)["cases"]()
    return {one.name: one for one in cases}[name]


def main() -> None:
    """Measure, print, and write a result file."""
    parser = options()
    arguments, device = started(parser)
    case = chosen(arguments.script, arguments.source, arguments.case)
    coils, height, width = map(int, arguments.size.split("x"))
    shape = (1, case.shape[1], coils, height, width)
    rows = both(case, golden.kspace(shape).to(torch.complex64))
    asked = ["git", "-C", str(arguments.source), "rev-parse", "HEAD"]
    commit = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    results: dict[str, Any] = {"facts": facts(device), "commit": commit}
    with torch.no_grad():
        images = [call() for _, call in rows.values()]
    results["difference"] = float((images[1] - images[0]).norm() / images[0].norm())
    print(results)
    for mode in MODES:
        steps = {name: partial(step, call, network, mode) for name, (network, call) in rows.items()}
        spent = interleaved(steps, arguments.rounds, device)
        peaks = [
            one.peak for one in taken([partial(lambda s: s, s) for s in steps.values()], device)
        ]
        results[mode] = spent
        results[f"{mode} memory"] = {
            name: {"peak": peak} for name, peak in zip(steps, peaks, strict=True)
        }
        tell(mode, spent, "")
        tell(mode, results[f"{mode} memory"], "")
    save("networks", f"{case.name}-{arguments.size}", parser, arguments, results)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--script", required=True, help="one of tests/parity")
    parser.add_argument(
        "--source", type=Path, required=True, help="a checkout of the published code"
    )
    parser.add_argument("--case", required=True, help="name of one of the script's cases")
    parser.add_argument("--size", default="8x320x320", help="coils x readout x phase encode")
    device_options(parser)
    result_options(parser, 5)
    return parser


if __name__ == "__main__":
    main()
