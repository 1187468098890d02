r"""A network against the code it was published in: time and memory of inference and training.

    PYTHONPATH=tests:tests/parity python benchmarks/networks.py \
        --script tests/parity/dircn.py --source CHECKOUT --case dircn-published --size 8x320x320

The script is one that `docs/parity.md` tells of: it knows how the published network is made and
called. Same weights, same k-space and mask, float32, the loss is the sum of the image. On a CPU the
published code is timed in a process of its own, as its users run it. Ours keeps everything; in
another row it recomputes cascades, two coils at a time; in the last blocks as well, coils one at a
time.
"""

from __future__ import annotations

import argparse
import json
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
from apart import AS_FOUND, Apart
from dealias.engine.allocator import Taken, taken
from dealias.engine.policies import MemoryPolicy
from dealias.errors import SettingsError
from dealias.models.table import build_network
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import measure
from record import facts, result_options, save
from rows import LEANEST, OFFICIAL
from shared import maps_for
from tensors import held
from varnet import tell
from versus import CPU, interleaved, timed
from where import device_options, started

MODES = ("inference", "training")
CENTRE = 0.08
"""Share of the lines that are ACS lines."""
EVERY = 4
SAME = 1e-3
"""How far apart the two images may be, relative: both are computed in float32."""
POLICIES = {
    "all kept": MemoryPolicy(),
    "recompute": MemoryPolicy(cascades="recompute", coils=2),
    "leanest": LEANEST,
}
Call = Callable[[], Tensor]


class Published(Apart):
    """The published network in a process of its own, which keeps no memory that it frees."""

    def __init__(self, mode: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--serve", mode],
            env=AS_FOUND,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


def step(call: Call, network: nn.Module, mode: str) -> None:
    """One image; in training with its gradients, which are dropped."""
    with torch.set_grad_enabled(mode == "training"):
        image = call()
    if mode == "training":
        image.sum().backward()
        network.zero_grad(set_to_none=True)


def sampling(width: int) -> SamplingMask:
    """Every fourth line, and the ACS lines, which none of the others touches.

    Published code that finds the ACS lines by itself would take those that do for some of them.
    """
    half = max(2, round(CENTRE * width / 2))
    acs = [width // 2 - half, width // 2 + half]
    touching = {(acs[0] - 1) % EVERY, acs[1] % EVERY}
    first = min(set(range(EVERY)) - touching)
    return golden.mask({"width": width, "every": EVERY, "first": first, "acs": acs})


def published(case: Any, kspace: Tensor) -> tuple[nn.Module, Call]:
    """The published network, of the same weights each time, and its call."""
    torch.manual_seed(0)
    mask = sampling(kspace.shape[-1])
    masked = torch.where(torch.tensor(mask.lines), kspace, 0)
    theirs = case.make().float()
    return theirs, partial(case.call, theirs, masked, mask)


def both(case: Any, kspace: Tensor) -> dict[str, tuple[nn.Module, Call]]:
    """The published network and ours with its weights, by row."""
    mask = sampling(kspace.shape[-1])
    rows = {OFFICIAL: published(case, kspace)}
    theirs = rows[OFFICIAL][0]
    for name, policy in POLICIES.items():
        network = build_network(case.settings)
        network.load_state_dict(case.published.convert(dict(theirs.named_parameters())))
        if not apply(policy, network):
            continue

        def call(network: Any = network) -> Tensor:
            masks = [mask] * len(kspace)
            maps = maps_for(network.needs, kspace, masks)
            target = case.target or tuple(kspace.shape[-2:])
            m = measure(kspace, masks, target, network.needs, maps)
            return m.window(network(m).image_BHW)

        rows[name] = (network, call)
    return rows


def apply(policy: MemoryPolicy, network: nn.Module) -> bool:
    """Apply a policy as far as the network has coils and cascades; not if nothing is left of it."""
    less = policy.model_copy(update={"coils": None})
    for one in (policy, less, MemoryPolicy(blocks=policy.blocks)):
        try:
            one.apply(network)
        except SettingsError:
            continue
        return one != MemoryPolicy() or policy == MemoryPolicy()
    return False


def chosen(script: str, source: Path, name: str) -> Any:
    """The case of that name, of a script that the published code can be imported for."""
    sys.path.insert(0, str(source))
    cases: Sequence[Any] = runpy.run_path(script)["cases"]()
    return {one.name: one for one in cases}[name]


def given(arguments: argparse.Namespace) -> tuple[Any, Tensor]:
    """The case, and k-space of the size that is asked for."""
    case = chosen(arguments.script, arguments.source, arguments.case)
    coils, height, width = map(int, arguments.size.split("x"))
    shape = (1, case.shape[1], coils, height, width)
    return case, golden.kspace(shape).to(torch.complex64)


def serve(arguments: argparse.Namespace) -> None:
    """After one step that warms, a step of the published code for each line, and its seconds."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # published code prints what it likes
    answers, sys.stdout = sys.stdout, sys.stderr
    network, call = published(*given(arguments))
    once = partial(step, call, network, arguments.serve)
    once()
    for _ in sys.stdin:
        print(json.dumps(timed(once, CPU)), file=answers, flush=True)


def by_allocator(call: Callable[[], object], device: torch.device) -> Taken:
    """What the allocator says of one call."""
    return taken([lambda: call], device)[0]


def main() -> None:
    """Measure, print, and write a result file."""
    parser = options()
    arguments, device = started(parser)
    if arguments.tensors and device.type != "cpu":
        parser.error("--tensors is for a CPU; a GPU's allocator tells its own peak: leave it out")
    case, kspace = given(arguments)
    rows = both(case, kspace)
    asked = ["git", "-C", str(arguments.source), "rev-parse", "HEAD"]
    commit = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    results: dict[str, Any] = {"facts": facts(device), "commit": commit}
    with torch.no_grad():
        images = [call() for _, call in rows.values()]
    results["difference"] = float((images[1] - images[0]).norm() / images[0].norm())
    print(results)
    if not results["difference"] < SAME:
        raise SystemExit(
            f"{case.name}: our image is {results['difference']:.1e} from the published code's, "
            f"expected less than {SAME}: at {arguments.size} it computes another function; "
            "ask for a --size like the one in docs/parity.md"
        )
    for mode in MODES if arguments.mode is None else [arguments.mode]:
        steps = {name: partial(step, call, network, mode) for name, (network, call) in rows.items()}
        alone = device.type == "cpu" and not arguments.together
        timed_steps = {**steps, OFFICIAL: Published(mode)} if alone else steps
        spent = interleaved(timed_steps, arguments.rounds, device)
        results[mode] = spent
        tell(mode, spent, "")
        counted = held if arguments.tensors else partial(by_allocator, device=device)
        results[f"{mode} memory"] = {name: {"peak": counted(s).peak} for name, s in steps.items()}
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
    parser.add_argument(
        "--together", action="store_true", help="time the published code in this process as well"
    )
    parser.add_argument("--mode", choices=MODES, help="one of the two alone")
    parser.add_argument(
        "--tensors", action="store_true",
        help="count the memory of tensors instead of the allocator's: the profiler, which tells "
        "the latter, notes gigabytes of a loop over tokens",
    )  # fmt: skip
    parser.add_argument("--serve", choices=MODES, help=argparse.SUPPRESS)
    device_options(parser)
    result_options(parser, 5)
    return parser


if __name__ == "__main__":
    # many bring a fork of it under its name, and what is imported above has loaded the package
    for module in [one for one in sys.modules if one.partition(".")[0] == "fastmri"]:
        del sys.modules[module]
    # and one of them a package of this file's name
    sys.path = [one for one in sys.path if Path(one).resolve() != Path(__file__).resolve().parent]
    if "--serve" in sys.argv:
        serve(options().parse_args())
    else:
        main()
