"""The selective scan of Mamba (Gu & Dao 2023, arXiv:2312.00752), exact, in bounded memory.

A recurrence over tokens, for every channel and each of its N states:

    h_t = exp(dt_t A) h_(t-1) + dt_t u_t B_t,    y_t = C_t . h_t

Tokens are cut into chunks, of which one at a time is in memory with all states; a chunk into
segments that go on at once. Only products of factors in (0, 1] are formed, nothing is divided.

Axes: B items, L tokens, G groups of channels that share B_t and C_t, D channels of a group, N
states; inside a chunk P segments of T tokens.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

STATES = 2**22
"""States of one chunk: 16 MiB in float32, of which four are held at once."""


def selective_scan(
    u_BLGD: Tensor, dt_BLGD: Tensor, A_GDN: Tensor, B_BLGN: Tensor, C_BLGN: Tensor
) -> Tensor:
    """The scan of all groups, with mamba_ssm's kernel where there is one.

    Args:
        u_BLGD: Real, float32 or float64.
        dt_BLGD: Steps, >= 0.
        A_GDN: Rates, < 0.
        B_BLGN: How a token enters the states.
        C_BLGN: How it is read from them.

    Returns:
        y, (B, L, G, D).
    """
    given = (u_BLGD, dt_BLGD, A_GDN, B_BLGN, C_BLGN)
    kernel = _kernel() if u_BLGD.is_cuda and u_BLGD.dtype == torch.float32 else None
    if kernel is not None:
        return _by_kernel(kernel, *given)
    out: Tensor = _SelectiveScan.apply(*given)  # type: ignore[no-untyped-call]
    return out


def _kernel() -> Callable[..., Tensor] | None:
    """mamba_ssm's function, where it is installed and was built for this torch."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return None
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except ImportError:
        return None
    return module.selective_scan_fn


def _by_kernel(
    kernel: Callable[..., Tensor], u: Tensor, dt: Tensor, A_GDN: Tensor, B: Tensor, C: Tensor
) -> Tensor:
    """The same by mamba_ssm, which wants tokens last and groups and channels in one axis."""
    u_BXL, dt_BXL = (one.flatten(2).transpose(1, 2).contiguous() for one in (u, dt))
    B_BGNL, C_BGNL = (one.permute(0, 2, 3, 1).contiguous() for one in (B, C))
    y_BXL = kernel(u_BXL, dt_BXL, A_GDN.flatten(0, 1), B_BGNL, C_BGNL)
    return y_BXL.transpose(1, 2).reshape(u.shape)


class _SelectiveScan(torch.autograd.Function):
    """Keeps what it was given and the state before each chunk; the rest is computed again."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        y, starts = torch.ops.dealias.selective_scan(*given)
        ctx.save_for_backward(*given, starts)
        out: Tensor = y
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = torch.ops.dealias.selective_scan_backward(
            grad, *ctx.saved_tensors
        )
        return found


def _forward(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """y, and the state before each chunk, (chunks, B, G, N, D).

    Inside, channels come last, (..., G, N, D), as there are more of them than states.
    """
    grid, rates = _Grid(u.shape, A.shape[-1]), A.mT.contiguous()
    state = rates.new_zeros((u.shape[0], *rates.shape))
    a, h = grid.buffers(rates, 2)
    starts, out = [], []
    for u_, dt_, B_, C_ in zip(*(grid.chunks(one) for one in (u, dt, B, C)), strict=True):
        starts.append(state)
        _states(a, h, u_, dt_, B_, rates, state)
        state = h[:, -1, -1].clone()
        out.append(_sum_states(h, C_))
    return grid.joined(out), torch.stack(starts)


def _forward_meta(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    groups, channels, states = A.shape
    shape = (_Grid(u.shape, states).count, u.shape[0], groups, states, channels)
    return u.new_empty(u.shape), u.new_empty(shape)


def _backward(
    grad: Tensor, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of u, dt, A, B and C, from the last chunk to the first."""
    grid, rates = _Grid(u.shape, A.shape[-1]), A.mT.contiguous()
    buffers = grid.buffers(rates, 4)
    arriving, grad_rates = torch.zeros_like(starts[0]), torch.zeros_like(rates)
    chunks = zip(*(grid.chunks(one) for one in (u, dt, B, C, grad)), strict=True)
    found = []
    for given, start in reversed(list(zip(chunks, starts, strict=True))):
        arriving, of_rates, *grads = _chunk_backward(buffers, given, rates, start, arriving)
        grad_rates += of_rates
        found.append(grads)
    joined = [grid.joined(list(reversed(one))) for one in zip(*found, strict=True)]
    grad_u, grad_dt, grad_B, grad_C = joined
    return grad_u, grad_dt, grad_rates.mT.contiguous(), grad_B, grad_C


def _backward_meta(grad: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    return tuple(one.new_empty(one.shape) for one in given[:5])


def _chunk_backward(
    buffers: tuple[Tensor, ...], given: tuple[Tensor, ...], rates: Tensor, start: Tensor,
    arriving: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of one chunk: of the state before it, the rates, u, dt, B and C.

    Args:
        buffers: Overwritten.
        given: u, dt, B, C of its tokens, and the gradient of their output.
        rates: A.
        start: The state before it.
        arriving: Gradient of the state after it.
    """
    a, h, g, q = buffers
    u, dt, B, C, grad = given
    over = _states(a, h, u, dt, B, rates, start)
    grad_C = _sum_channels(h, grad)
    leaving = _scan_back(a, over, _outer(grad, C, g), arriving)
    # the gradient of dt A: that of a, which is the state before times g, times a
    torch.mul(h[:, :, :-1], g[:, :, 1:], out=q[:, :, 1:])
    torch.mul(h[:, :-1, -1], g[:, 1:, 0], out=q[:, 1:, 0])
    torch.mul(start, g[:, 0, 0], out=q[:, 0, 0])
    q.mul_(a)
    grad_rates = torch.mul(q, dt.unsqueeze(-2), out=h).sum((0, 1, 2))
    entered = _sum_states(g, B)
    grad_dt = q.mul_(rates).sum(-2).addcmul_(entered, u)
    return leaving, grad_rates, entered.mul_(dt), grad_dt, _sum_channels(g, u * dt), grad_C


class _Grid:
    """How tokens are cut: chunks of P segments of T tokens, about as many of one as the other."""

    def __init__(self, shape: torch.Size, states: int) -> None:
        self.batch, self.tokens, groups, channels = shape
        most = max(1, STATES // (self.batch * groups * channels * states))
        size = math.ceil(self.tokens / math.ceil(self.tokens / most))
        self.length = math.ceil(math.sqrt(size))
        self.segments = math.ceil(size / self.length)
        self.count = math.ceil(self.tokens / (self.segments * self.length))

    def chunks(self, x: Tensor) -> list[Tensor]:
        """(B, L, ...) to (B, P, T, ...) each; what is missing at the end is zeros."""
        size = self.segments * self.length
        *whole, last = torch.split(x, size, 1)
        # a token of zeros has dt = 0: it leaves the state alone
        padded = F.pad(last, (0, 0, 0, 0, 0, size - last.shape[1]))
        shape = (self.segments, self.length, *x.shape[2:])
        return [one.reshape(len(x), *shape) for one in (*whole, padded)]

    def buffers(self, rates: Tensor, count: int) -> tuple[Tensor, ...]:
        """Memory of a chunk's states, so many times: new memory for each would cost time."""
        shape = (self.batch, self.segments, self.length, *rates.shape)
        return tuple(rates.new_empty(shape) for _ in range(count))

    def joined(self, chunks: list[Tensor]) -> Tensor:
        """Undoes `chunks`."""
        flat = [one.flatten(1, 2) for one in chunks]
        flat[-1] = flat[-1][:, : self.tokens - (self.count - 1) * self.segments * self.length]
        return torch.cat(flat, 1)


def _outer(x: Tensor, states: Tensor, out: Tensor) -> Tensor:
    """(..., D) and (..., N) to (..., N, D)."""
    return torch.mul(x.unsqueeze(-2), states.unsqueeze(-1), out=out)


def _sum_states(h: Tensor, states: Tensor) -> Tensor:
    """(..., N, D) and (..., N) to (..., D)."""
    return (states.unsqueeze(-2) @ h).squeeze(-2)


def _sum_channels(h: Tensor, x: Tensor) -> Tensor:
    """(..., N, D) and (..., D) to (..., N)."""
    return (h @ x.unsqueeze(-1)).squeeze(-1)


def _states(
    a: Tensor, h: Tensor, u: Tensor, dt: Tensor, B: Tensor, rates: Tensor, start: Tensor
) -> Tensor:
    """h_t = a_t h_(t-1) + dt_t u_t B_t with a_t = exp(dt_t A), beginning with h = start.

    First where each segment ends if it begins with zeros, then where it does begin, then all.

    Returns:
        The product of a over each segment, (B, P, G, N, D); a and h are written.
    """
    torch.mul(dt.unsqueeze(-2), rates, out=a).exp_()
    over = (dt.sum(2).unsqueeze(-2) * rates).exp_()
    _outer(u * dt, B, h)
    end = h[:, :, 0].clone()
    for t in range(1, h.shape[2]):
        torch.addcmul(h[:, :, t], a[:, :, t], end, out=end)
    begins = [start]
    for p in range(h.shape[1] - 1):
        begins.append(torch.addcmul(end[:, p], over[:, p], begins[-1]))
    state = torch.stack(begins, 1)
    for t in range(h.shape[2]):
        state = h[:, :, t].addcmul_(a[:, :, t], state)
    return over


def _scan_back(a: Tensor, over: Tensor, g: Tensor, arriving: Tensor) -> Tensor:
    """g_t += a_(t+1) g_(t+1), where the state after the last token has the gradient `arriving`.

    Returns:
        The gradient of the state before the first; g is overwritten.
    """
    last = g.shape[2] - 1
    begin = g[:, :, last] * a[:, :, last]
    for t in range(last - 1, -1, -1):
        begin = begin.add_(g[:, :, t]).mul_(a[:, :, t])
    ends = [arriving]
    for p in range(g.shape[1] - 1, -1, -1):
        ends.append(torch.addcmul(begin[:, p], over[:, p], ends[-1]))
    leaving = ends.pop()
    later = g[:, :, last].add_(torch.stack(ends[::-1], 1))
    for t in range(last - 1, -1, -1):
        later = g[:, :, t].addcmul_(a[:, :, t + 1], later)
    return leaving


_GIVEN = "Tensor u, Tensor dt, Tensor A, Tensor B, Tensor C"
_OPERATIONS: tuple[tuple[str, str, Callable[..., Any], Callable[..., Any]], ...] = (
    ("selective_scan", f"({_GIVEN}) -> (Tensor, Tensor)", _forward, _forward_meta),
    (
        "selective_scan_backward",
        f"(Tensor grad, {_GIVEN}, Tensor starts) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
        _backward,
        _backward_meta,
    ),
)
"""One each way for whoever counts, compiles or recomputes: loops over tokens are inside."""
_LIBRARY = torch.library.Library("dealias", "FRAGMENT")  # type: ignore[no-untyped-call]
for _name, _signature, _real, _meta in _OPERATIONS:
    _LIBRARY.define(f"{_name}{_signature}")  # type: ignore[no-untyped-call]
    _LIBRARY.impl(_name, _real, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    _LIBRARY.impl(_name, _meta, "Meta")  # type: ignore[no-untyped-call]
