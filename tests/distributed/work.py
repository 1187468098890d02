"""What ranks do in tests: each function here is run by a process of its own for each rank.

The fork server runs this file with CALL set; what a function gives is saved to CALL["result"].
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dealias.data.order import epoch_batches
from dealias.data.remask import MaskSettings
from dealias.data.samples import Batch, Samples
from dealias.engine.policies import MemoryPolicy
from dealias.engine.ranks import ALONE, Ranks
from dealias.errors import DataError
from dealias.metrics.protocol import PROTOCOLS
from dealias.models.unet import UnetSettings
from dealias.models.varnet import VarNetSettings
from dealias.scan.measurement import Needs
from dealias.scan.scan import Cell
from dealias.training.anatomy import AnatomySettings, AnatomyTask, PenaltySettings
from dealias.training.dealing import deal, read
from dealias.training.losses import LossSettings
from dealias.training.reconstruction import ReconstructionTask
from dealias.training.same import refuse_different_ranks
from dealias.training.step import Stepper

CPU = torch.device("cpu")
NETWORKS: dict[str, Any] = {
    "varnet": VarNetSettings(cascades=2, channels=2, pools=1, sens_channels=2, sens_pools=1),
    "unet": UnetSettings(channels=4, pools=1, dropout=0.3),
}


def doubled(batch: Batch) -> Batch:
    return replace(
        batch,
        kspace_BSCHW=batch.kspace_BSCHW.to(torch.complex128),
        target_BHW=batch.target_BHW.double(),
        foreground_BHW=batch.foreground_BHW.double(),
        range_B=batch.range_B.double(),
    )


def scans() -> list[Any]:
    """Seven slices of two shapes."""
    make = runpy.run_path(str(Path(__file__).parent.parent / "training" / "conftest.py"))
    return [make["make_scan"](1), make["make_scan"](2, hw=(20, 24)), make["make_scan"](3, slices=3)]


def network_of(name: str, policy: dict[str, Any]) -> Any:
    """In float64, with a weight that nothing uses and one that only one of the shapes uses."""
    from dealias.models.table import build_network

    torch.manual_seed(3)
    network = build_network(NETWORKS[name]).double().train()
    MemoryPolicy(**policy).apply(network)
    network.idle = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    network.some = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def scaled(module: Any, args: Any, estimate: Any) -> Any:
        image_BHW = estimate.image_BHW
        return estimate if image_BHW.shape[-1] == 20 else estimate._replace(
            image_BHW=image_BHW * network.some)  # fmt: skip

    network.register_forward_hook(scaled)
    return network


def steps(
    ranks: Ranks, accumulation: int, network: str, policy: dict[str, Any], batch_size: int = 1,
    fp16: bool = False, poison: int | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Two epochs in float64: losses, gradients and weights of every step."""
    samples = Samples(scans(), MaskSettings(kind="random", accelerations=(2, 3)), Needs(), 0)
    trained = network_of(network, policy)
    optimiser = torch.optim.AdamW(trained.parameters(), lr=1e-2, weight_decay=0.1)
    gradients: dict[str, Any] = {}
    optimiser.register_step_pre_hook(
        lambda *_: gradients.update({n: p.grad for n, p in trained.named_parameters()})
    )
    scaler = torch.amp.GradScaler("cpu", enabled=fp16)
    task = ReconstructionTask(LossSettings(), PROTOCOLS["fastmri"])
    stepper = Stepper(trained, optimiser, scaler, task, 0.5, CPU, ranks)
    found = []
    for epoch in range(2):
        groups = epoch_batches(samples.keys(), batch_size, 0, epoch)
        for turn, share in read(samples, epoch, deal(groups, 0, accumulation, ranks), 0):
            batches = [doubled(batch) for batch in share.batches]
            for place, group in enumerate(turn.mine):
                if poison in group:
                    batches[place].kspace_BSCHW[0, 0, 0, 5, 5] = torch.nan
                    batches[place].target_BHW[0, 5, 5] = torch.nan
            gradients.clear()
            result = stepper(replace(share, batches=tuple(batches)))
            weights = {n: p.detach().clone() for n, p in trained.named_parameters()}
            found.append({
                "losses": result.losses, "names": result.names, "applied": result.applied,
                "gradients": {n: None if g is None else g.clone() for n, g in gradients.items()},
                "weights": weights, "scale": scaler.get_scale(),
            })  # fmt: skip
    return found


def anatomy(ranks: Ranks, accumulation: int) -> list[dict[str, Any]]:
    """An epoch of a classifier in float64: losses, weights and running means of every step."""
    cells = (Cell(name, 4) for name in ("brain", "knee", "brain"))
    labelled = [replace(one, cell=cell) for one, cell in zip(scans(), cells, strict=True)]
    samples = Samples(labelled, MaskSettings(kind="random", accelerations=(2, 3)), Needs(), 0)
    small: Any = {"widths": [4], "depths": [1]}
    settings = AnatomySettings(network=small, penalty=PenaltySettings())
    torch.manual_seed(3)
    network = settings.build().double().train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    stepper = Stepper(network, optimiser, scaler, AnatomyTask(settings), None, CPU, ranks)
    found = []
    turns = deal(epoch_batches(samples.keys(), 2, 0, 0), 0, accumulation, ranks)
    for _, share in read(samples, 0, turns, 0):
        result = stepper(replace(share, batches=tuple(map(doubled, share.batches))))
        state = {name: one.clone() for name, one in network.state_dict().items()}
        found.append({"losses": result.losses, "state": state})
    return found


def meeting(ranks: Ranks, case: str) -> str:
    """One rank does something else than the others."""
    if case == "refused" and ranks.rank == 1:
        raise DataError("a.h5", "nothing good", "something", "mend it")
    if case == "bug" and ranks.rank == 1:
        raise ZeroDivisionError("of ours")
    if case == "hang" and ranks.rank == 1:
        time.sleep(600)
    if case == "settings":
        refuse_different_ranks(ranks, ["data"], {"lr": ranks.rank})
    if case == "data":
        refuse_different_ranks(ranks, [f"data {ranks.rank}"], {})
    ranks.wait()
    return "met"


def run(function: str, log: str, environment: dict[str, str], arguments: dict[str, Any],
        timeout: float, patience: float) -> None:  # fmt: skip
    os.setsid()
    os.environ.update(environment)
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    torch.set_num_threads(1)
    from dealias.cli.app import run as run_command
    from dealias.engine import joining, ranks, roll

    joining.TIMEOUT, roll.PATIENCE = timeout, patience
    ranks.BUCKET = 600  # bytes: a network of a few weights is several of them

    def command() -> None:
        with joining.joined("cpu") as (us, _):
            assert us is not ALONE
            torch.save(globals()[function](us, **arguments), f"{log}.pt")

    sys.exit(run_command(command, debug=False))


if "CALL" in globals():  # set by whoever runs this file
    run(**globals()["CALL"])
