"""Counting on `meta`: what lives, when it dies, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.engine.count import Count
from dealias.engine.counting import Counter
from dealias.engine.layout import as_computed
from dealias.engine.replay import Memory

MIB = 1 << 20


def meta(*shape: int, **options: Any) -> Tensor:
    return torch.empty(*shape, device="meta", **options)


def counted(call: Callable[[], object], *held: Tensor, memory: Memory | None = None) -> Count:
    counter = Counter(held, (), memory)
    with counter:
        call()
    return counter.count()


def test_what_is_dropped_no_longer_counts() -> None:
    x = meta(256, 1024)  # 1 MiB

    def chain() -> None:
        y = x + 1
        z = y + 1
        del y
        z + 1

    assert counted(chain, x).live == 3 * MIB


def test_views_and_writing_in_place_cost_nothing() -> None:
    x = meta(256, 1024)

    def chain() -> None:
        y = (x + 1).view(-1)[5:].reshape(-1)
        y.mul_(2).add_(1)
        torch.add(y, 1, out=y)

    count = counted(chain, x)
    assert count.live == 2 * MIB
    assert (count.calls, count.views) == (4, 3)


def test_what_was_there_counts_once() -> None:
    x = meta(256, 1024)
    assert counted(lambda: x.detach() + x.view(-1).view_as(x), x).live == 2 * MIB


def test_autograd_keeps_what_it_needs() -> None:
    x = meta(256, 1024, requires_grad=True)
    assert counted(lambda: x.exp().exp().exp(), x).live == 4 * MIB
    with torch.no_grad():
        assert counted(lambda: x.exp().exp().exp(), x).live == 3 * MIB


def test_gradients_are_told_apart() -> None:
    weight = torch.nn.Parameter(meta(256, 1024))
    counter = Counter([weight], [])
    with counter:
        (weight * 2).sum().backward()
        meta(1024, 1024).add(1)
    count = counter.count([weight.grad])
    last = max(count.uses, key=lambda use: use.live)
    assert (count.weights, last.gradients) == (MIB, MIB)
    assert last.live == 1 * MIB + 1 * MIB + 8 * MIB


def test_gradients_that_are_not_there_yet_do_not_count() -> None:
    weight = torch.nn.Parameter(meta(256, 1024))
    counter = Counter([weight], [])
    with counter:
        meta(1024, 1024).add(1)
        (weight * 2).sum().backward()
    last = max(counter.count([weight.grad]).uses, key=lambda use: use.live)
    assert (last.live, last.gradients) == (9 * MIB, 0)


def test_numbers_that_are_equal_are_not_the_same() -> None:
    whole, memory = meta(4, 4, dtype=torch.int64), Memory()
    types = []
    for factor in (1, 1.0, True):
        with Counter((), (), memory):
            types.append((whole * factor).dtype)
    assert types == [torch.int64, torch.float32, torch.int64]


def test_work_is_counted() -> None:
    x, weight = meta(2, 3, 32, 32), meta(5, 3, 3, 3)
    count = counted(lambda: F.conv2d(x, weight, padding=1))
    assert count.flops == 2 * 2 * 5 * 32 * 32 * 3 * 9
    assert count.bytes == 4 * (x.numel() + weight.numel() + 2 * 5 * 32 * 32)
    spectrum = meta(4, 32, 64, dtype=torch.complex64)
    assert counted(lambda: torch.fft.fftn(spectrum, dim=(-1,))).flops == 5 * 4 * 32 * 64 * 6
    both = counted(lambda: torch.fft.fftn(spectrum, dim=(-2, -1)))
    assert both.flops == 5 * 4 * 32 * 64 * (5 + 6)


class Slow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a dispatch mode sees without memory of earlier operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = as_computed(func, args, func(*args, **(kwargs or {})))
        parts = out if isinstance(out, tuple) else (out,)
        self.calls.append((str(func), tuple(map(described, parts))))
        return out


class Noted(Counter):  # type: ignore[no-untyped-call]
    def __init__(self, memory: Memory) -> None:
        super().__init__((), (), memory)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        parts = out if isinstance(out, tuple) else (out,)
        self.calls.append((str(func), tuple(map(described, parts))))
        return out


def described(one: Any) -> Any:
    if not isinstance(one, Tensor):
        return str(one)
    # the stride of an axis of one element is nobody's business
    strides = [step * (size > 1) for step, size in zip(one.stride(), one.shape, strict=True)]
    return one.shape, strides, one.dtype, one.untyped_storage().nbytes()


def some_work() -> Tensor:
    """Layouts, types, tuples, scalars and in-place writes."""
    x = meta(2, 4, 20, 18, requires_grad=True)
    weight = meta(6, 4, 3, 3, requires_grad=True)
    y = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, padding=1)
    mean, std = y.mean((2, 3), keepdim=True), y.std((2, 3), keepdim=True)
    y = F.leaky_relu_((y - mean) / std, 0.2)
    z = torch.complex(y, y * 2.0) * (1 + 2j)
    z = torch.fft.ifftn(z.conj() * 1, dim=(-1,))
    values, where = torch.max(z.abs().permute(0, 2, 3, 1).double(), dim=1)
    total = F.avg_pool2d(values.float().unsqueeze(1), 2).sum() + where.sum()
    (total * 3).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    return weight.grad


def test_operations_done_from_memory_give_what_torch_gives() -> None:
    memory = Memory()
    first, second = Noted(memory), Noted(memory)
    with Slow() as truth:
        some_work()
    with first:
        some_work()
    with second:
        some_work()
    assert first.calls == truth.calls
    assert second.calls == truth.calls
    assert first.count().live == second.count().live


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("kind", ["plain", "transposed", "1x1"])
def test_convolutions_are_laid_out_as_on_the_cpu(last: bool, kind: str) -> None:
    shapes = {"plain": (16, 8, 3, 3), "transposed": (8, 16, 2, 2), "1x1": (4, 8, 1, 1)}
    options: dict[str, Any] = {"plain": {"padding": 1}, "transposed": {"stride": 2}, "1x1": {}}
    call = F.conv_transpose2d if kind == "transposed" else F.conv2d
    calls = []
    for device in ("cpu", "meta"):
        x = torch.ones(2, 8, 40, 36, device=device)
        if last:
            x = x.contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        weight = torch.ones(shapes[kind], device=device, requires_grad=True)
        with Slow() as seen:
            call(x, weight, **options[kind]).square().sum().backward()
        calls.append([one for one in seen.calls if "convolution" in one[0]])
    assert calls[0] == calls[1]
    assert len(calls[0]) == 2
