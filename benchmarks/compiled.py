"""Whether torch.compile is worth it here: seconds and memory of a training step with and without.

    python benchmarks/compiled.py --threads 1

Prints CPU seconds of a step (medians of alternating runs, so that a busy machine disturbs both
alike; on a GPU, seconds), the allocator's peak, what waits for the backward pass, and how long
compiling took.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch

from dealias.engine.allocator import taken
from dealias.engine.compiled import compile_denoisers
from dealias.engine.device import choose_device, device_name
from dealias.engine.policies import MemoryPolicy
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, Needs, measure
from dealias.sizes import said_memory

POLICIES = {
    "keep": MemoryPolicy(),
    "cascades=recompute": MemoryPolicy(cascades="recompute"),
}


class Step:
    """One network and its training step."""

    def __init__(self, policy: MemoryPolicy, m: Measurement, cascades: int) -> None:
        torch.manual_seed(0)
        self.network = VarNet(VarNetSettings(cascades=cascades)).to(m.kspace_BSCHW.device)
        policy.apply(self.network)
        self.m, self.device = m, m.kspace_BSCHW.device

    def forward(self) -> torch.Tensor:
        """A loss; any will do."""
        self.network.zero_grad()
        return self.network(self.m).image_BHW.square().mean()

    def whole(self) -> None:
        """Forward and backward."""
        self.forward().backward()

    def seconds(self) -> float:
        """Of the process's CPU time, or on a GPU of the clock."""
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else _cpu_seconds
        began = clock()
        self.whole()
        if on_gpu:
            torch.cuda.synchronize(self.device)
        return clock() - began


def _cpu_seconds() -> float:
    """Of this process and of the compilers it started."""
    return time.process_time() + sum(os.times()[2:4])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="8x192x160", help="coils x readout x phase encode")
    parser.add_argument("--cascades", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    # what an earlier run compiled would be taken from torch's cache, and cost nothing
    torch.compiler.config.force_disable_caches = True
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    coils, *hw = map(int, arguments.shape.split("x"))
    kspace_BSCHW = torch.randn(1, 1, coils, *hw, dtype=torch.complex64) + 2
    m = measure(kspace_BSCHW.to(device), [snu_mask(hw[1], 4)], (hw[0], hw[1]), Needs())
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"E2E-VarNet, {arguments.cascades} cascades, {arguments.shape}, noise as data")
    for name, policy in POLICIES.items():
        plain, compiled = (Step(policy, m, arguments.cascades) for _ in range(2))
        compile_denoisers(compiled.network, device, print, print)
        plain.whole()
        first = compiled.seconds()
        pairs = [(plain.seconds(), compiled.seconds()) for _ in range(arguments.repeats)]
        ratio = statistics.median(a / b for a, b in pairs)
        for which, step, index in (("as written", plain, 0), ("compiled", compiled, 1)):
            whole, kept = taken([lambda s=step: s.whole, lambda s=step: s.forward], device)
            seconds = statistics.median(pair[index] for pair in pairs)
            print(f"{name:20} {which:11} {seconds:7.3f} s a step, peak {said_memory(whole.peak)}, "
                  f"kept {said_memory(kept.kept)}")  # fmt: skip
        print(f"{name:20} {ratio:.2f} times as fast; the first step took {first:.0f} s")


if __name__ == "__main__":
    main()
