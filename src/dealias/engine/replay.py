"""Operations on `meta` tensors that were seen before, done again without asking torch.

What shape, layout and type an operation gives, torch works out in Python, in up to a millisecond;
a network repeats a few hundred distinct ones many thousand times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dealias.engine.layout import as_computed
from dealias.engine.operation import Operation, TensorSpec, tensors_in

Key = tuple[Any, ...]


class Known:
    """An operation that was seen before.

    Args:
        operation: Which.
        inplace: Whether it gives what it was given to write to.
        several: Whether it gives several tensors.
        sure: Whether it can be done again without torch: all that it gives is memory of its own.
    """

    def __init__(self, operation: Operation, inplace: bool, several: bool, sure: bool) -> None:
        self.operation, self.inplace, self.several, self.sure = operation, inplace, several, sure
        self.single = sure and not several
        self._outputs = [(one.shape, one.stride, one.dtype) for one in operation.outputs]

    def again(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """What it gives for the same specifications."""
        if self.inplace:
            return kwargs["out"] if "out" in kwargs else args[0]
        made = [
            torch.empty_strided(shape, stride, dtype=dtype, device="meta")
            for shape, stride, dtype in self._outputs
        ]
        return tuple(made) if self.several else made[0]


class Memory:
    """All operations that any counter of this process has seen."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Known, Any]:
        """Do an operation.

        Returns:
            What is known of it, and what it gives.
        """
        # an overload lives as long as torch does, and its own hash is slow
        key = (id(func), *map(_spec, args), *kwargs, *map(_spec, kwargs.values()))
        known = self._known.get(key)
        if known is not None and known.sure:
            return known, known.again(args, kwargs)
        out = as_computed(func, args, func(*args, **kwargs))
        if known is None:
            known = self._known[key] = _learn(func, args, kwargs, out)
        return known, out


def _spec(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.is_meta, value.is_conj()
    kind = type(value)
    if kind is list or kind is tuple:
        return tuple(map(_spec, value))
    # 1, 1.0 and True are equal and yet not the same to torch
    return (kind, value)


def _learn(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> Known:
    inplace = out is (kwargs["out"] if "out" in kwargs else args[0] if args else None)
    given = {one.untyped_storage()._cdata for one in tensors_in((args, kwargs))}
    made = tensors_in(out)
    fresh = bool(made) and all(_fresh(one, given) for one in made)
    plain = isinstance(out, Tensor) or (isinstance(out, tuple) and len(made) == len(out))
    operation = Operation.of(func, args, kwargs, out)
    return Known(operation, inplace, isinstance(out, tuple), inplace or (fresh and plain))


def _fresh(one: Tensor, given: set[int]) -> bool:
    """Whether a tensor is the whole of a memory of its own; of scalars the type may be a guess."""
    storage = one.untyped_storage()
    whole = (
        storage.nbytes() == TensorSpec.of(one).extent * one.element_size()
        and storage._cdata not in given
    )
    return one.is_meta and one.ndim > 0 and whole and not one.is_conj()
