"""Whether a training repeats bit for bit; if not, in which step and module it first does not.

The two trainings are two processes, one after the other: nothing that the first one leaves (memory,
plans of cuDNN and the FFT, caches of ours) can make the second one alike, or another. Each is the
training that `dealias train` starts, watched from outside.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dealias.config.compose import load_recipe
from dealias.engine.device import choose_device
from dealias.errors import HealthError, UserError
from dealias.runs.hooks import Hooks
from dealias.runs.study.watch import LOSS, Step, Watch
from dealias.runs.train import start
from dealias.training.job import Progress

OPTIMISER = "the optimiser"
CONTEXT = get_context("spawn")
"""How a process is made: a fork would inherit what the first training is not to hand on."""
State = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Trace:
    """What a training did.

    Attributes:
        steps: In order.
        state: The network's weights and buffers after the last of them.
    """

    steps: tuple[Step, ...]
    state: State


@dataclass(frozen=True)
class Difference:
    """Where two trainings part.

    Attributes:
        step: The first step, from 1, whose loss, gradient norm or weights differ.
        losses: Of both, as means of the epoch so far; None where no step counted.
        norms: L2 norms of the gradient before clipping.
        module: The first module that computed anything else.
        what: Of what it was.
        apart: Largest difference of a weight after the last step of both, and
        share: of the largest weight.
    """

    step: int
    losses: tuple[float | None, float | None]
    norms: tuple[float, float]
    module: str
    what: str
    apart: float
    share: float


@dataclass(frozen=True)
class Request:
    """A training to watch.

    Attributes:
        recipe: Its name or path.
        data: The data set.
        overrides: Changes of settings.
        device: As `choose_device` takes it.
        steps: Optimiser steps to make.
    """

    recipe: str
    data: Path
    overrides: tuple[str, ...] = field(default=())
    device: str | None = None
    steps: int = 20


def twice(
    request: Request,
    progress: Callable[[int], None] = lambda steps: None,
    warn: Callable[[str], None] = lambda text: None,
) -> tuple[Trace, Trace]:
    """Train twice from the same start, each in a process of its own.

    Args:
        request: What to train.
        progress: Called with 1 after each step of either.
        warn: Told what the training warns of.

    Raises:
        UserError: As for `dealias train`.
        HealthError: A process died.
    """
    # what is wrong with the recipe is said before a process starts
    load_recipe(request.recipe, list(request.overrides))
    first, second = (_in_a_process(request, progress, warn) for _ in range(2))
    return first, second


def traced(
    work: Callable[[Hooks], object], steps: int, modules: bool = True, hooks: Hooks | None = None
) -> Trace:
    """Watch a training in this process, and stop it after some steps.

    Args:
        work: Starts the training with the hooks that it is given.
        steps: Optimiser steps; it may end earlier by itself.
        modules: See `Watch`.
        hooks: For progress and warnings besides.
    """
    found: list[Step] = []
    outer = hooks or Hooks()

    with Watch(modules) as watch:

        def progress(now: Progress) -> None:
            if now.doing != "training":
                return
            found.append(watch.step(now.loss))
            outer.progress(now)
            if len(found) >= steps:
                raise _Enough

        with contextlib.suppress(_Enough):
            work(Hooks(progress, outer.warn, outer.say))
        state = watch.network.state_dict() if watch.network is not None else {}
        return Trace(tuple(found), {key: _plain(one) for key, one in state.items()})


def first_difference(one: Trace, other: Trace) -> Difference | None:
    """The first step that is not the same in both, or None.

    Args:
        one: A training.
        other: The same again.
    """
    for number, (a, b) in enumerate(zip_longest(one.steps, other.steps), start=1):
        if a is None or b is None:
            a, b = a or _NONE, b or _NONE
        if (a.weights, *_bits(a)) != (b.weights, *_bits(b)):
            module, what = _first_event(a, b)
            apart = _apart(one.state, other.state)
            return Difference(number, (a.loss, b.loss), (a.norm, b.norm), module, what, *apart)
    return None


class _Enough(Exception):
    """As many steps as were asked for are done."""


_NONE = Step(None, 0.0, 0, ())


def _bits(step: Step) -> tuple[bytes, bytes]:
    """Loss and norm: two NaNs are the same, 0 and -0 are not."""
    loss = b"" if step.loss is None else np.float64(step.loss).tobytes()
    return loss, np.float64(step.norm).tobytes()


def _first_event(one: Step, other: Step) -> tuple[str, str]:
    for a, b in zip_longest(one.events, other.events):
        if a != b:
            found = a or b
            return found.module, found.what
    if _bits(one)[0] != _bits(other)[0]:
        return LOSS, "its value"
    return OPTIMISER, "the weights it made"


def _apart(one: State, other: State) -> tuple[float, float]:
    """Largest difference of floating-point values, and its share of the largest of them."""
    most = largest = 0.0
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if a.size and a.dtype.kind in "fc" and a.shape == b.shape:
            most = float(np.maximum(most, np.abs(a - b).max()))
            largest = float(np.maximum(largest, np.abs(a).max()))
    return most, most / largest if largest else 0.0


def _plain(tensor: torch.Tensor) -> npt.NDArray[Any]:
    cpu = tensor.detach().cpu()
    return (cpu.float() if cpu.dtype == torch.bfloat16 else cpu).numpy().copy()


def _in_a_process(
    request: Request, progress: Callable[[int], None], warn: Callable[[str], None]
) -> Trace:
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_train, args=(sender, request))
    process.start()
    sender.close()
    try:
        for kind, value in _messages(receiver):
            if kind == "trace":
                return Trace(*value)
            if kind == "error":
                raise value
            (progress if kind == "step" else warn)(value)
    finally:
        process.terminate()
        process.join()
    do = "is memory short?"
    raise HealthError("the training", f"its process ended ({process.exitcode})", "", do)


def _messages(receiver: Connection) -> Iterator[tuple[str, Any]]:
    while True:
        try:
            yield receiver.recv()
        except EOFError:
            return


def _train(sender: Connection, request: Request) -> None:
    """What the process does: it trains and tells."""
    overrides: Sequence[str] = request.overrides
    compiled = load_recipe(request.recipe, list(overrides)).training.compile
    hooks = Hooks(
        progress=lambda progress: sender.send(("step", 1)),
        warn=lambda text: sender.send(("warn", text)),
    )
    try:
        device = choose_device(request.device)
        with tempfile.TemporaryDirectory(prefix="dealias-repro-") as folder:

            def work(inner: Hooks) -> None:
                run = Path(folder) / "run"
                start(request.recipe, request.data, run, list(overrides), device, inner)

            trace = traced(work, request.steps, not compiled, hooks)
        sender.send(("trace", (trace.steps, trace.state)))
    except UserError as error:
        sender.send(("error", error))
