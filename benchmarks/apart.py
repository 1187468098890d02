"""fastmri's network in a process of its own, as its users run it, timed from here.

This process keeps freed memory and chooses instructions (dealias.engine.cpu); whoever runs fastmri
has neither, so a fair comparison takes a process that was started without them. Nor should the
memory that fastmri's network takes be what ours finds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import torch

AS_FOUND = dict(os.environ)
"""Before `choose_device` chose anything."""


class Apart:
    """One network in a process of its own, which ends with this object.

    Args:
        pair: Arguments of `Pair`, all but the device: the process makes the same.
        mode: "inference" or "training".
        ready: Whether that process, too, makes itself ready for inference on a CPU as ours does.
    """

    def __init__(self, pair: tuple[Any, ...], mode: str, ready: bool = False) -> None:
        asked = json.dumps([pair, mode, torch.get_num_threads(), ready])
        self._process = subprocess.Popen(
            [sys.executable, __file__, asked], env=AS_FOUND, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def spent(self) -> tuple[float, float]:
        """Wall and CPU seconds of one step, measured in that process.

        Raises:
            MemoryError: Memory did not suffice.
            RuntimeError: The process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("once", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of fastmri's network ended: {self._process.wait()}")
        if answer.strip() == "null":
            raise MemoryError
        wall, cpu = json.loads(answer)
        return wall, cpu

    def __call__(self) -> object:
        """Run a step."""
        return self.spent()

    def __del__(self) -> None:
        """End the process, which reads to the end of its input."""
        self._process.communicate()


def serve(pair: list[Any], mode: str, threads: int, ready: bool) -> None:
    """After one step that warms, a step for each line that comes, and its seconds for an answer."""
    from dealias.engine.cpu import prepare_cpu, prepare_inference
    from pair import MODES, Pair  # here: the other process does not need it
    from versus import CPU, timed, within

    if ready:
        prepare_cpu()
        prepare_inference()
    torch.set_num_threads(threads)
    shape, target, sizes = pair
    one = Pair(tuple(shape), tuple(target), tuple(sizes), CPU)
    network, call = one.reference()

    def step() -> object:
        return MODES[mode](network, call, one)

    within(step, CPU)
    for _ in sys.stdin:
        answer = within(lambda: timed(step, CPU), CPU)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
