"""What a process of the fork server runs: the command line, in a process group of its own.

The server has torch imported already, so a process starts in a fraction of a second instead of
seconds. All else is as in a shell: own process, own group, own signals, own files.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path


def run(
    arguments: list[str],
    log: str,
    environment: dict[str, str],
    limit: int | None,
    memory: int | None,
) -> None:
    """Run `dealias ARGUMENTS` with its output in LOG.out and LOG.err.

    Files are limited to LIMIT bytes, memory to MEMORY bytes more than are in use now.
    """
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    import torch

    from dealias.cli.app import run as run_command
    from dealias.cli.main import app

    torch.set_num_threads(1)
    if memory is not None:
        # torch imports much as it goes, and a library that is loaded under the limit may try for
        # ever (OpenBLAS does): a small run first
        small = ("cascades=1", "channels=2", "pools=1", "sens_channels=2", "sens_pools=1")
        overrides = [f"network.{one}" for one in small]
        warm = [*arguments[:4], "--out", f"{log}.warm", "training.epochs=1", *overrides]
        run_command(lambda: app(warm, standalone_mode=False), debug=False)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    sys.exit(run_command(lambda: app(arguments, standalone_mode=False), debug=False))


if "CALL" in globals():  # set by whoever runs this file
    run(**globals()["CALL"])
