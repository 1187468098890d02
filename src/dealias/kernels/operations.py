"""What torch knows of our kernels: operations that it may record, count and leave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_double, c_long, c_void_p
from typing import Any

import torch
from torch import Tensor

from dealias.kernels.build import library

MOMENT = 3
"""Doubles in a `moment` of moments.h."""
_LIBRARY: Any = torch.library.Library("dealias", "DEF")  # type: ignore[no-untyped-call]


def define(schema: str, real: Callable[..., Any], meta: Callable[..., Any]) -> Any:
    """Make an operation of torch.ops.dealias.

    Args:
        schema: In torch's notation, the name first.
        real: Computes it on a CPU.
        meta: Gives tensors of the same shapes, strides and dtypes, which are not computed.

    Returns:
        What is called.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, real, "CPU")
    _LIBRARY.impl(name, meta, "Meta")
    return getattr(torch.ops.dealias, name)


def run(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    """Call a function of the kernels in C.

    Args:
        name: Its name.
        dtype: Which kernels: there are some of each.
        arguments: A tensor, a place in memory or None for a pointer, int for long, float for
            double, a sequence for an array of long.
    """
    found = library(dtype)
    assert found is not None
    getattr(found, name)(*map(_in_c, arguments))


def _in_c(value: Any) -> Any:
    if isinstance(value, Tensor):
        return c_void_p(value.data_ptr())
    if isinstance(value, int):
        return c_long(value)
    if isinstance(value, float):
        return c_double(value)
    return (c_long * len(value))(*value) if isinstance(value, Sequence) else value
