"""One real training step of full-size PromptMR+ with Adam, against what the plan said of it.

    python benchmarks/full_size.py

92.9 million parameters, five adjacent slices of 15 coils, 640 x 368, cropped to 384 rows, the
leanest memory policy: minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor

from dealias.config.compose import load_recipe
from dealias.data.samples import Batch
from dealias.engine.allocator import taken
from dealias.models.table import build_network
from dealias.runs.plan import footprint_of
from dealias.runs.rehearsal import blank_batch, inputs_of, train_once
from dealias.runs.size import Size
from dealias.sizes import said_memory
from dealias.training.optimiser import build_optimiser
from plan import filled
from record import facts, result_options, save
from where import device_options, started

SIZE = Size(15, (640, 368), (384, 368))
CHANGES = ["network.readout_crop=0", "memory.coils=1"]


def main() -> None:
    """Plan, run, compare, and write a result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    device_options(parser)
    result_options(parser, 1)
    arguments, device = started(parser)
    recipe = load_recipe("promptmr-plus", CHANGES)
    footprint = footprint_of(recipe, SIZE, device.type, print)
    count = footprint.training_count(recipe.memory)
    footprint.measure([count], lambda total: lambda done: None)
    need = footprint.need(recipe.memory, count)
    print(f"planned: {said_memory(need.total)}, {need.seconds} s")
    torch.manual_seed(0)
    network = build_network(recipe.network).to(device).train()
    recipe.memory.apply(network)
    batch: Batch = filled(blank_batch(SIZE, network.needs, 1))
    optimiser = build_optimiser(recipe.optimiser, network)

    def step() -> None:
        train_once(network, batch, recipe.loss, device)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    # the first step makes the optimiser's state, which the second one finds there
    step()
    state = [one for part in optimiser.state.values() for one in part.values()]
    there: list[Tensor] = [*network.parameters(), *state]
    there += inputs_of(batch) if device.type == "cpu" else []
    start = time.perf_counter()
    (found,) = taken([lambda: step], device)
    seconds = time.perf_counter() - start
    peak = found.peak + sum(one.untyped_storage().nbytes() for one in there)
    planned = need.total - need.context
    results: dict[str, Any] = {
        "facts": facts(device), "planned": planned, "peak": peak, "off": planned / peak - 1,
        "planned_seconds": need.seconds, "seconds": round(seconds, 1),
    }  # fmt: skip
    print(f"counted: {said_memory(peak)}, {seconds:.0f} s; the plan is {results['off']:+.1%} off")
    save("full-size", "15x640x368", parser, arguments, results)


if __name__ == "__main__":
    main()
