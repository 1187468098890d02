"""`dealias doctor`: what this machine and the installed torch can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dealias.engine.ceilings import Ceilings
    from dealias.engine.machine import Machine


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("doctor", rich_help_panel="Before")(doctor)


def doctor(
    json: Annotated[Path | None, typer.Option(help="Write all of it here.")] = None,
) -> None:
    """Say what torch can use here, and measure how fast it computes and moves data.

    Both figures are kept in the user's cache folder for `dealias plan`; nothing else should run
    meanwhile.

    Example: dealias doctor --json doctor.json
    """
    import torch

    from dealias.atomic import write_json
    from dealias.cachefolder import cache_folder
    from dealias.cli.progress import warn
    from dealias.engine.ceilings import measure_ceilings
    from dealias.engine.machine import look_around

    machine = look_around()
    usable = [f"cuda:{gpu.index}" for gpu in machine.gpus if gpu.usable]
    ceilings = {name: measure_ceilings(torch.device(name), warn) for name in ("cpu", *usable)}
    for line in _lines(machine, ceilings, cache_folder()):
        typer.echo(line)
    if json is not None:
        measured = {name: vars(one) for name, one in ceilings.items()}
        write_json(json, {**machine.to_json(), "ceilings": measured})


def _lines(machine: Machine, ceilings: dict[str, Ceilings], cache: Path) -> list[str]:
    from dealias.errors import printable
    from dealias.sizes import said_bytes, said_memory

    cuda = f"CUDA {machine.cuda}" if machine.cuda else "no CUDA"
    built = f", built for {', '.join(machine.architectures)}" if machine.architectures else ""
    rows = [
        ("torch", f"{machine.torch}, {cuda}{built}"),
        ("cpu", f"{machine.cpu}, {machine.threads} threads, {said_memory(machine.memory)} of RAM"),
    ]
    for gpu in machine.gpus:
        about = f"{gpu.name}, capability {gpu.capability}, {said_memory(gpu.memory)}"
        said = "usable" if gpu.usable else f"NOT usable: {gpu.do}"
        rows.append((f"cuda:{gpu.index}", f"{about}, {said}"))
    if not machine.gpus:
        rows.append(("gpu", "none seen"))
    rows += [("compile", machine.compile), ("cpu kernels", machine.kernels)]
    for name, one in ceilings.items():
        speeds = f"{one.flops / 1e9:,.0f} GFLOP/s (sgemm), {one.bytes / 1e9:,.0f} GB/s (copy)"
        calls = f"{one.call * 1e6:.1f} to {one.cold_call * 1e6:.0f} us an operation"
        rows.append((f"{name} at most", f"{speeds}, {calls}"))
    rows += [("cache", str(cache)), ("disk", f"{said_bytes(machine.disk)} free here")]
    return [f"{name:13} {printable(text)}" for name, text in rows]
