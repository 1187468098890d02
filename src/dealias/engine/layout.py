"""The memory layout of what convolutions give, where torch's rules for `meta` tensors miss it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

_FORWARD = torch.ops.aten.convolution.default
_BACKWARD = torch.ops.aten.convolution_backward.default
_REFLECT = torch.ops.aten.reflection_pad2d.default


def as_computed(function: Any, args: Any, out: Any) -> Any:
    """Outputs as kernels of the CPU and CUDA lay them out.

    They are channels-last as soon as input or weights are; on `meta` they are contiguous.

    Args:
        function: An overload of torch.ops.
        args: What it was given.
        out: What it gave, on `meta`.

    Returns:
        The same, or other `meta` tensors of the same shapes.
    """
    if function is _FORWARD:
        return _like(out, _channels_last(*args[:2]))
    if function is _REFLECT:
        return _like(out, _channels_last(args[0]))
    if function is _BACKWARD:
        last = _channels_last(*args[1:3])
        return tuple(None if one is None else _like(one, last) for one in out)
    return out


def _channels_last(*tensors: Tensor) -> bool:
    return any(
        one.ndim == 4 and suggest_memory_format(one) == torch.channels_last for one in tensors
    )


def _like(out: Tensor, last: bool) -> Tensor:
    if not (last and out.is_meta and out.ndim == 4):
        return out
    return torch.empty_like(out, memory_format=torch.channels_last)
