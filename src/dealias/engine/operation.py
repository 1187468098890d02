"""One operation of a network as torch dispatches it: what it takes, gives, and costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

import dealias.kernels.convolution  # noqa: F401  defines the operations

_FFT = {torch.ops.aten._fft_c2c, torch.ops.aten._fft_r2c, torch.ops.aten._fft_c2r}
_CONVOLVED = {torch.ops.dealias.conv3x3, torch.ops.dealias.conv3x3_moments}
_OURS = {*_CONVOLVED, torch.ops.dealias.conv3x3_weight}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor without its values.

    Attributes:
        shape: Sizes.
        stride: In elements.
        dtype: Of an element.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSpec:
        """The specification of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    @property
    def bytes(self) -> int:
        """Of its elements, each counted however often it is repeated."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def extent(self) -> int:
        """Elements of memory from its first to its last."""
        pairs = zip(self.shape, self.stride, strict=True)
        return 0 if 0 in self.shape else 1 + sum((size - 1) * stride for size, stride in pairs)

    def make(self, device: torch.device) -> Tensor:
        """A tensor of ones: whatever is computed from them stays an ordinary number."""
        memory = torch.ones(self.extent, dtype=self.dtype, device=device)
        return memory.as_strided(self.shape, self.stride)

    def __str__(self) -> str:
        sizes, strides = (",".join(map(str, part)) for part in (self.shape, self.stride))
        return f"{str(self.dtype).removeprefix('torch.')}[{sizes}/{strides}]"


@dataclass(frozen=True, eq=False)
class Operation:
    """A call, with specifications in place of tensors.

    Attributes:
        function: An overload of torch.ops.
        args: Its arguments, nested as they were.
        kwargs: The same.
        outputs: What it gives.
        key: Names the operation and everything its cost depends on; the same in every process.
        flops: Of convolutions, matrix products (2 for each multiply-add) and Fourier transforms
            (5 n log2 n); 0 for anything else.
        bytes: Of all tensors it takes and gives: the traffic without caches and fusion.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[TensorSpec, ...]
    key: str
    flops: float
    bytes: int

    @classmethod
    def of(cls, function: Any, args: Any, kwargs: dict[str, Any], out: Any) -> Operation:
        """The operation of a call that was made."""
        outputs = tuple(TensorSpec.of(one) for one in tensors_in(out))
        moved = sum(TensorSpec.of(one).bytes for one in tensors_in((args, kwargs)))
        given = described(args), dict(zip(kwargs, described(tuple(kwargs.values())), strict=True))
        return cls(
            function, *given, outputs, f"{function}{_said(given[0])}{_said(given[1])}",
            _flops(function, args, kwargs, out), moved + sum(one.bytes for one in outputs),
        )  # fmt: skip

    def arguments(self, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Real arguments on a device."""

        def real(value: Any) -> Any:
            if isinstance(value, TensorSpec):
                return value.make(device)
            if isinstance(value, torch.device):
                return device
            return [real(one) for one in value] if isinstance(value, tuple) else value

        return tuple(map(real, self.args)), {key: real(one) for key, one in self.kwargs.items()}


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in a nest of lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [tensor for one in value for tensor in tensors_in(one)]
    return []


def described(value: Any) -> Any:
    """The same nest with specifications in place of tensors, and tuples in place of lists."""
    if isinstance(value, Tensor):
        return TensorSpec.of(value)
    return tuple(map(described, value)) if isinstance(value, tuple | list) else value


def _said(value: Any) -> str:
    if isinstance(value, dict):
        # where it runs is no part of what it is
        parts = [f"{key}={_said(one)}" for key, one in value.items() if key != "device"]
        return f"{{{','.join(parts)}}}" if parts else ""
    if isinstance(value, tuple):
        return f"({','.join(map(_said, value))})"
    return str(value).removeprefix("torch.")


def _flops(function: Any, args: Any, kwargs: dict[str, Any], out: Any) -> float:
    packet = function._overloadpacket
    if packet in _FFT:
        x, axes = args[0], args[1]
        sizes = x.shape if x.numel() >= tensors_in(out)[0].numel() else tensors_in(out)[0].shape
        return 5.0 * math.prod(sizes) * sum(math.log2(sizes[axis]) for axis in axes)
    if packet in _OURS:
        # what a direct convolution takes, so that networks have one count everywhere
        x, other = args[0], tensors_in(out)[0] if packet in _CONVOLVED else args[1]
        return 2.0 * 9 * x.numel() * other.shape[1]
    if packet in flop_registry:
        return float(flop_registry[packet](*args, **kwargs, out_val=out))
    return 0.0
