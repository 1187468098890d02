"""torch.compile for the denoisers: one graph for all cascades, another for each further size.

Denoisers alone are compiled, as they see real tensors: torch generates no code for complex ones.
Weights are inputs of the graph, so that cascades, which are alike, share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dealias.engine.machine import compiling_on
from dealias.engine.policies import MemoryPolicy
from dealias.engine.precision import borders
from dealias.errors import SettingsError

BACKEND = "inductor"
MOST = 8
"""Graphs at most, which is torch's own limit: two or three for each size of slice."""


def refuse_compile(network: nn.Module, policy: MemoryPolicy) -> None:
    """Refuse what cannot be compiled on any machine.

    Raises:
        SettingsError: The network has no denoiser of real tensors, or the policy would go wrong.
    """
    if not borders(network):
        found = f"true for {type(network).__name__}"
        expected = "a network with denoisers of complex images"
        raise SettingsError("training.compile", found, expected, "set training.compile=false")
    for key, way in (("cascades", policy.cascades), ("blocks", policy.blocks)):
        if way == "keep_convolutions":
            # compiled code writes over what torch was told to keep: gradients of cascades came out
            # wrong by their own size, without an error; of blocks torch itself warns
            found = "keep_convolutions with training.compile=true"
            expected = "keep or recompute: compiled code writes over what it was told to keep"
            do = f"set memory.{key}=recompute, or training.compile=false"
            raise SettingsError(f"memory.{key}", found, expected, do)


def compile_denoisers(
    network: nn.Module,
    device: torch.device,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Let a network's denoisers be compiled as they are first trained, if this machine can.

    Args:
        network: That `refuse_compile` does not refuse.
        device: Where it will run.
        say: Told of each graph, and how long it took.
        warn: Told in one line what is not compiled, and why.
    """
    found = compiling_on(device)
    if found != "works":
        warn(f"training.compile=true does nothing here: {found.removeprefix('no: ')}")
        return
    compiled = Compiled(say, warn)
    for border in borders(network):
        border.runner = compiled


class Compiled:
    """A runner of real-valued networks that compiles them where a gradient will be asked for.

    Without gradients (in validation) it just runs. What torch fails to compile runs as it is
    written, and so does every further size once there are `MOST` graphs: training goes on.

    Args:
        say: Told of each graph, and how long it took.
        warn: Told once if anything runs uncompiled.

    Attributes:
        graphs: Made so far.
    """

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self.graphs = 0
        self._say, self._warn = say, warn
        self._failed = False
        torch.compiler.reset()  # graphs of earlier networks count
        # torch 2.13 makes no code for channels-last convolutions of symbolic sizes
        self._run = torch.compile(_run, backend=self._backend, fullgraph=True, dynamic=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return self

    def __call__(self, network: nn.Module, x: Tensor, *context: Any) -> Any:
        """Run a network on x, and on what else it takes."""
        if self._failed or not torch.is_grad_enabled():
            return network(x, *context)
        if self.graphs >= MOST:
            with torch.compiler.set_stance("eager_on_recompile"):
                return self._run(network, x, *context)
        before, began = self.graphs, time.perf_counter()
        try:
            y = self._run(network, x, *context)
        except Exception as error:
            if not _of_the_compiler(error):
                raise
            self._failed = True
            self._warn(f"training.compile=true does nothing: torch failed with {_said(error)}")
            return network(x, *context)
        if self.graphs > before:
            self._tell(x, time.perf_counter() - began)
        return y

    def _backend(self, graph: Any, inputs: Any) -> Any:
        from torch._dynamo import lookup_backend

        made = lookup_backend(BACKEND)(graph, inputs)
        self.graphs += 1
        return made

    def _tell(self, x: Tensor, seconds: float) -> None:
        size = "x".join(map(str, x.shape))
        self._say(f"compiled the denoiser for {size} in {seconds:.0f} s")
        if self.graphs >= MOST:
            self._warn(f"{MOST} graphs are compiled, the most there may be: other sizes run as is")


def _run(network: nn.Module, x: Tensor, *context: Any) -> Any:
    return network(x, *context)


def _of_the_compiler(error: Exception) -> bool:
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException)


def _said(error: Exception) -> str:
    """One line: of an error of the code generator, which torch wraps, what it said itself."""
    cause = getattr(error, "inner_exception", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
