"""Watches a training from outside: every module's inputs, outputs and gradients, a number each.

Nothing in the training knows of it, and no bit of it changes: hooks before and behind each module's
forward pass, and on the gradients of what goes in and comes out, read and hand on nothing. What
runs again in the backward pass is not told twice.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from dealias.models.network import Trainable
from dealias.runs.study.checksum import checksum

DATA, LOSS, NETWORK = "the data", "the loss", "the network itself"


class Event(NamedTuple):
    """Something computed.

    Attributes:
        module: Which one computed it: of an input, whose own code made it; of a gradient, who took
            the tensor as an input ("a or b" where several modules did).
        what: Of what it is, such as "the output of cascades.0".
        value: Checksum of its bits.
    """

    module: str
    what: str
    value: int


@dataclasses.dataclass(frozen=True)
class Step:
    """One optimiser step.

    Attributes:
        loss: Mean of the epoch so far, as the training tells it; None where no step counted.
        norm: L2 norm of the gradient, before it is clipped.
        weights: Checksum of the network's state after the step.
        events: In the order of the computation.
    """

    loss: float | None
    norm: float
    weights: int
    events: tuple[Event, ...]


@dataclasses.dataclass
class _Use:
    """Who uses a tensor.

    Attributes:
        tensor: Which one.
        takers: Modules that it was an input of, in order.
        maker: Whose own code goes on with it if no module takes it.
    """

    tensor: Callable[[], Tensor | None]
    takers: list[str] = dataclasses.field(default_factory=list)
    maker: str = NETWORK

    @property
    def blamed(self) -> str:
        """Who makes its gradient: the innermost modules that took it, or the code around."""
        inner = [
            name
            for name in dict.fromkeys(self.takers)
            if not any(other.startswith(f"{name}.") for other in self.takers)
        ]
        return " or ".join(inner) or self.maker


class Watch:
    """Records what the network that is trained inside the `with` computes.

    Args:
        modules: Whether modules are watched, or the gradients of weights alone: code that
            torch.compile made has no modules to watch.
    """

    def __init__(self, modules: bool = True) -> None:
        self.network: Trainable | None = None
        self._modules = modules
        self._names: dict[nn.Module, str] = {}
        self._running: list[nn.Module] = []
        self._told: list[tuple[str, str, Tensor]] = []
        self._uses: dict[int, _Use] = {}
        self._squares: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Watch:
        self._handles.append(register_module_forward_pre_hook(self._before))
        if self._modules:
            self._handles.append(register_module_forward_hook(self._after))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def step(self, loss: float | None) -> Step:
        """What was computed since the last step.

        Args:
            loss: As the training tells it.
        """
        squares = [self._squares[name].cpu() for name in sorted(self._squares)]
        norm = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
        state = self.network.state_dict() if self.network is not None else {}
        weights = sum(
            int(checksum(tensor)) * (2 * i + 1) for i, tensor in enumerate(state.values())
        )
        events = tuple(Event(module, what, int(value)) for module, what, value in self._told)
        self._told, self._squares, self._uses = [], {}, {}
        return Step(loss, norm, weights % (1 << 64), events)

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self._running and not self._begins(module):
            return
        if not self._modules:
            # compiled code must find no hook that stands before every module
            self._handles[0].remove()
            return
        caller = self._name(self._running[-1]) if self._running else DATA
        name = self._name(module)
        for tensor in _tensors(inputs):
            self._tell(caller, f"the input of {name}", tensor)
            use = self._use(tensor, f"the gradient of the input of {name}")
            if use is not None:
                use.takers.append(name)
        self._running.append(module)

    def _begins(self, module: nn.Module) -> bool:
        """Whether a training's forward pass begins here; validations and recomputations do not."""
        if not (isinstance(module, Trainable) and module.training and torch.is_grad_enabled()):
            return False
        if module is not self.network:
            self.network = module
            self._names = {one: name for name, one in module.named_modules()}
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    self._follow(name, parameter)
        return True

    def _follow(self, name: str, parameter: nn.Parameter) -> None:
        owner = name.rpartition(".")[0] or NETWORK

        def tell(weight: Tensor) -> None:
            if weight.grad is not None:
                self._tell(owner, f"the gradient of {name}", weight.grad)
                with torch.no_grad():
                    self._squares[name] = weight.grad.double().abs().square().sum()

        handle = parameter.register_post_accumulate_grad_hook(tell)  # type: ignore[no-untyped-call]
        self._handles.append(handle)

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self._running or self._running[-1] is not module:
            return
        self._running.pop()
        name = self._name(module)
        caller = self._name(self._running[-1]) if self._running else LOSS
        for tensor in _tensors(output):
            self._tell(name, f"the output of {name}", tensor)
            use = self._use(tensor, f"the gradient of the output of {name}")
            if use is not None:
                # a module that hands on what it took does nothing to its gradient
                use.takers = [one for one in use.takers if one != name]
                use.maker = caller

    def _use(self, tensor: Tensor, what: str) -> _Use | None:
        """Who uses a tensor; a new one's gradient is told from here on. None without a gradient."""
        if tensor.is_leaf or not tensor.requires_grad:
            return None
        known = self._uses.get(id(tensor))
        if known is not None and known.tensor() is tensor:
            return known
        use = self._uses[id(tensor)] = _Use(weakref.ref(tensor))

        def tell(gradient: Tensor | None) -> None:
            # a function of our own may say that there is none
            if gradient is not None:
                self._tell(use.blamed, what, gradient)

        tensor.register_hook(tell)  # type: ignore[no-untyped-call]
        return use

    def _tell(self, module: str, what: str, tensor: Tensor) -> None:
        with torch.no_grad():
            self._told.append((module, what, checksum(tensor)))

    def _name(self, module: nn.Module) -> str:
        return self._names.get(module) or (NETWORK if module is self.network else "a helper")


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors inside of tuples, lists, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _tensors([getattr(value, field.name) for field in dataclasses.fields(value)])
