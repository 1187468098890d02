"""What `dealias plan` says beforehand, against what happens: peak memory, seconds, its own time.

    python benchmarks/plan.py
    python benchmarks/plan.py --cases "U-Net; VarNet, small" --rounds 5

Planned and measured in the same process, with the same threads, on the same slices of noise. The
plan begins with an empty cache folder, so its operations and the device's ceilings are measured
now. Seconds are the smaller of wall and CPU time, as the plan's own are.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dealias.config.schema import Recipe
from dealias.data.samples import Batch
from dealias.engine.allocator import taken
from dealias.engine.ceilings import known_ceilings
from dealias.engine.forecast import Forecast
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import set_precision
from dealias.models.network import Network
from dealias.models.table import build_network
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.runs.footprint import Footprint
from dealias.runs.plan import as_overrides, footprint_of
from dealias.runs.rehearsal import blank_batch, infer_once, inputs_of, train_once
from dealias.runs.size import Size
from dealias.sizes import said_memory
from record import facts, result_options, save
from rows import LEANEST
from versus import interleaved
from where import device_options, started

KEEP = MemoryPolicy()
CHALLENGE = Size(16, (640, 368), (384, 384))
Planned = dict[str, tuple[MemoryPolicy, Forecast]]


@dataclass(frozen=True)
class Case:
    """A recipe, its data, and the policies to look at.

    Attributes:
        network: Settings.
        size: Of one slice.
        policies: For training; of these, chunks of coils alone matter for inference.
    """

    network: VarNetSettings | UnetSettings
    size: Size
    policies: tuple[MemoryPolicy, ...] = (KEEP,)

    def recipe(self) -> Recipe:
        """The recipe; its masks are over one axis."""
        return Recipe(name="plan", network=self.network, masks={"kind": "snu"})

    def modes(self) -> dict[str, tuple[MemoryPolicy, ...]]:
        """The policies that make a difference."""
        chunks = dict.fromkeys(policy.coils for policy in self.policies)
        return {"training": self.policies,
                "inference": tuple(MemoryPolicy(coils=one) for one in chunks)}  # fmt: skip


POLICIES = (
    KEEP,
    MemoryPolicy(cascades="keep_convolutions", coils=4),
    MemoryPolicy(cascades="recompute", coils=4),
    LEANEST,
)
CASES = {
    "VarNet": Case(VarNetSettings(readout_crop=16), CHALLENGE, POLICIES),
    "VarNet, all rows": Case(VarNetSettings(), CHALLENGE, (MemoryPolicy(coils=4),)),
    "VarNet, small": Case(VarNetSettings(cascades=4, channels=8, sens_channels=4),
                          Size(8, (320, 320), (320, 320)), POLICIES),
    "U-Net": Case(UnetSettings(), CHALLENGE, (KEEP, MemoryPolicy(blocks="recompute"))),
    "U-Net, challenge": Case(UnetSettings(channels=2, pools=1), CHALLENGE),
}  # fmt: skip
"""The published sizes of both networks, and the U-Net that the challenge hands out."""


class Truth:
    """A case's network with real weights, and a slice of noise."""

    def __init__(self, case: Case, device: torch.device) -> None:
        torch.manual_seed(0)
        self.recipe, self.device = case.recipe(), device
        self.network: Network = build_network(case.network).to(device)
        set_precision(self.network, self.recipe.training.precision)
        self.batch = filled(blank_batch(case.size, self.network.needs, 1))

    def step(self, mode: str, policy: MemoryPolicy) -> None:
        """One training step or one reconstruction."""
        policy.apply(self.network)
        if mode == "inference":
            infer_once(self.network.eval(), self.batch, self.device)
            return
        train_once(self.network.train(), self.batch, self.recipe.loss, self.device)
        self.network.zero_grad(set_to_none=True)

    def there(self) -> int:
        """Bytes before a step: the weights, and on a CPU the batch."""
        held = [*self.network.parameters(), *self.network.buffers()]
        if self.device.type == "cpu":
            held += inputs_of(self.batch)
        return sum(one.untyped_storage().nbytes() for one in held)

    def peak(self, step: Callable[[], object]) -> int:
        """Bytes at the allocator's peak; it has run before where kernels keep a workspace."""
        if self.device.type == "cuda":
            step()
        (found,) = taken([lambda: step], self.device)
        return found.peak + self.there()


def filled(blank: Batch) -> Batch:
    """The same batch with noise in it."""

    def real(one: Tensor) -> Tensor:
        return torch.rand(one.shape, dtype=one.dtype) + 0.1

    sens_BSCHW = None if blank.sens_BSCHW is None else real(blank.sens_BSCHW)
    return Batch(
        real(blank.kspace_BSCHW), blank.masks, real(blank.target_BHW),
        torch.ones(blank.foreground_BHW.shape), real(blank.range_B), blank.names,
        sens_BSCHW=sens_BSCHW,
    )  # fmt: skip


def planned(case: Case, footprint: Footprint) -> dict[str, Planned]:
    """What the plan says, by mode and policy; what was not measured yet is measured."""
    counters = {"training": footprint.training_count, "inference": footprint.inference_count}
    counts = {
        mode: {said(policy): (policy, counters[mode](policy)) for policy in policies}
        for mode, policies in case.modes().items()
    }
    every = [count for by_policy in counts.values() for _, count in by_policy.values()]
    footprint.measure(every, lambda total: lambda done: None)
    return {
        mode: {name: (policy, footprint.forecast(count)) for name, (policy, count) in one.items()}
        for mode, one in counts.items()
    }


def measured(case: Case, rounds: int, device: torch.device) -> dict[str, Any]:
    """Plan twice, with the case's operations unknown and known; then run."""
    results: dict[str, Any] = {"size": str(case.size), "network": case.network.model_dump()}
    for when in ("cold", "warm"):
        start = time.perf_counter()
        footprint = footprint_of(case.recipe(), case.size, device.type, print)
        found = planned(case, footprint)
        results[f"plan_{when}"] = round(time.perf_counter() - start, 3)
    truth = Truth(case, device)
    for mode, policies in found.items():
        steps = {name: partial(truth.step, mode, policy)
                 for name, (policy, _) in policies.items()}  # fmt: skip
        peaks = {name: truth.peak(step) for name, step in steps.items()}
        spent = interleaved(steps, rounds, device, warm=False)
        results[mode] = {
            name: compared(forecast, footprint, peaks[name], spent[name])
            for name, (_, forecast) in policies.items()
        }
    return results


def compared(
    forecast: Forecast, footprint: Footprint, peak: int, spent: dict[str, Any]
) -> dict[str, Any]:
    """Planned and measured, and the time that the arithmetic alone takes at the ceiling."""
    ceilings = footprint.ceilings
    return {
        "planned": {"peak": forecast.peak, "seconds": forecast.seconds},
        "measured": {"peak": peak, **spent},
        "floor": None if ceilings is None else ceilings.floor(forecast.flops, 0),
        "flops": forecast.flops,
        "bytes": forecast.bytes,
    }


def said(policy: MemoryPolicy) -> str:
    """What differs from keeping all, as it is typed."""
    defaults = as_overrides(KEEP)
    typed = [one for one in as_overrides(policy) if one not in defaults]
    return " ".join(one.removeprefix("memory.") for one in typed) or "keep"


def seconds(spent: dict[str, Any], device: str) -> float:
    """Of a measured row, as the plan means them: time spent waiting for a busy CPU is none."""
    wall, cpu = spent["wall"][1], spent["cpu"][1]
    return wall if device == "cuda" else min(wall, cpu)


def main() -> None:
    """Measure, print, and write a result file."""
    parser = options()
    arguments, device = started(parser)
    names = arguments.cases.split("; ")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"--cases: found {unknown[0]}; expected {'; '.join(CASES)}")
    results: dict[str, Any] = {"facts": facts(device), "cases": {}}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for name in names:
            results["cases"][name] = measured(CASES[name], arguments.rounds, device)
            tell(name, results["cases"][name], device.type)
        ceilings = known_ceilings(device)
    results["ceilings"] = None if ceilings is None else asdict(ceilings)
    print(f"{time.perf_counter() - start:.0f} s in all")
    save("plan", "all" if names == list(CASES) else "some", parser, arguments, results)


def tell(name: str, found: dict[str, Any], device: str) -> None:
    """A line for each policy."""
    print(f"{name}: planned in {found['plan_cold']:.1f} s, again in {found['plan_warm']:.1f} s")
    for mode in ("training", "inference"):
        for policy, one in found[mode].items():
            plan, truth = one["planned"], one["measured"]
            took = seconds(truth, device)
            print(f"  {mode:9} {policy:45} {said_memory(plan['peak']):>9} for "
                  f"{said_memory(truth['peak']):>9} ({plan['peak'] / truth['peak'] - 1:+.1%})  "
                  f"{plan['seconds']:6.2f} s for {took:6.2f} s ({plan['seconds'] / took - 1:+.0%})",
                  flush=True)  # fmt: skip


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="; ".join(CASES))
    device_options(parser)
    result_options(parser, 3)
    return parser


if __name__ == "__main__":
    main()
