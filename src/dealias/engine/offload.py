"""Tensors parked on the CPU while a GPU does not need them; copies change no bit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from dealias.engine.recompute import recompute

Away = Callable[[Tensor], Tensor]


def to_host(tensor: Tensor) -> Tensor:
    """A copy of a tensor in the CPU's memory, pinned so that transfers are fast.

    A tensor that lies there already, or nowhere (on `meta`), is given back as it is.
    """
    if tensor.device.type in ("cpu", "meta"):
        return tensor
    host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.device.type == "cuda")
    return host.copy_(tensor)


class Boundaries:
    """A runner that recomputes a unit, and parks its inputs on the CPU until then.

    An input that several units see, such as a history, is parked once. Tensors inside other
    objects (an operator's maps) stay where they are.

    Args:
        away: Makes the copy that is parked.
    """

    def __init__(self, away: Away | None = None) -> None:
        self._away = away
        self._parked = WeakTensorKeyDictionary()

    def __deepcopy__(self, memo: dict[int, Any]) -> Boundaries:
        return Boundaries(self._away)

    def __call__(self, function: Any, *arguments: Any) -> Any:
        """Run the unit on its arguments: tensors, and tuples of tensors."""
        if not torch.is_grad_enabled():
            return function(*arguments)
        slots: dict[int, _Slot] = {}
        held = _mapped(arguments, Tensor, lambda tensor: self._slot(tensor, slots))

        def run(probe: Tensor) -> Any:
            # what stands there twice comes back as one: compiled code looks at that
            return function(*_mapped(held, _Slot, functools.cache(_Slot.take)))

        try:
            # the probe keeps nothing; it tells torch whose random numbers to draw again
            here = next((slot.here for slot in slots.values()), torch.empty(0))
            return recompute(run, here.new_empty(0))
        finally:
            for slot in slots.values():
                slot.live = None

    def _slot(self, tensor: Tensor, slots: dict[int, _Slot]) -> _Slot:
        if id(tensor) in slots:
            return slots[id(tensor)]
        version, host = self._parked.get(tensor, (None, None))  # type: ignore[no-untyped-call]
        if version != tensor._version:
            host = None if tensor.is_meta else (self._away or to_host)(tensor.detach())
            self._parked[tensor] = tensor._version, host
        slots[id(tensor)] = slot = _Slot(tensor, host)
        return slot


class _Slot:
    """One input: the tensor itself in the first run, its copy from the CPU in later ones."""

    def __init__(self, tensor: Tensor, host: Tensor | None) -> None:
        self.live: Tensor | None = tensor
        self.host, self.wants = host, tensor.requires_grad
        self.shape, self.stride = tensor.shape, tensor.stride()
        # an empty tensor keeps nothing but where it lies and of what type it is
        self.here = tensor.detach().new_empty(0)

    def take(self) -> Tensor:
        if self.live is not None:
            return self.live
        if self.host is None:
            back = self.here.new_empty_strided(self.shape, self.stride)
        else:
            back = self.host.to(self.here.device, non_blocking=True)
        # the recomputed graph is discarded; it must only keep the tensors that the first one kept
        return back.detach().requires_grad_(self.wants)


def _mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The same nest of tuples with each item of a kind changed."""
    if isinstance(value, kind):
        return change(value)
    if not isinstance(value, tuple):
        return value
    items = [_mapped(item, kind, change) for item in value]
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)


def park_optimiser(optimiser: torch.optim.Optimizer, away: Away | None = None) -> None:
    """Keep an optimiser's state on the CPU, but for the time of its step.

    Args:
        optimiser: Any of torch's; its state_dict is as without, and can be loaded as without.
        away: Makes the copy that is parked.
    """

    def park(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        _move(optimiser, lambda tensor, _: (away or to_host)(tensor))

    def fetch(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        _move(optimiser, lambda tensor, device: tensor.to(device, non_blocking=True))

    optimiser.register_step_pre_hook(fetch)
    optimiser.register_step_post_hook(park)
    optimiser.register_load_state_dict_post_hook(park)


def _move(
    optimiser: torch.optim.Optimizer, change: Callable[[Tensor, torch.device], Tensor]
) -> None:
    for parameter, values in optimiser.state.items():
        for key, value in values.items():
            # moments have the parameter's shape; counters are where torch wants them
            if isinstance(value, Tensor) and value.ndim:
                values[key] = change(value, parameter.device)
