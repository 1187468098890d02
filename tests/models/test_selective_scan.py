"""The selective scan beside the recurrence token by token, mambapy, and its own promises."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.models.layers import selective_scan as module
from dealias.models.layers.selective_scan import selective_scan

EVERYTHING = 2**22


def one_by_one(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence as it is written."""
    h, out = torch.zeros(len(u), *A.shape, dtype=u.dtype), []
    for t in range(u.shape[1]):
        entering = dt[:, t, ..., None] * B[:, t, :, None] * u[:, t, ..., None]
        h = torch.exp(dt[:, t, ..., None] * A) * h + entering
        out.append((h * C[:, t, :, None]).sum(-1))
    return torch.stack(out, 1)


def given(tokens: int, step: float = 1.0, groups: int = 3, channels: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    u, dt = draw(2, tokens, groups, channels), draw(2, tokens, groups, channels).abs() * step
    B, C = draw(2, 2, tokens, groups, 5).unbind(0)
    return [one.requires_grad_() for one in (u, dt, -draw(groups, channels, 5).exp(), B, C)]


def assert_same(found: Tensor, wanted: Tensor, of: list[Tensor]) -> None:
    """Outputs and gradients, to 1e-10."""
    weight = torch.randn_like(wanted)
    a, b = (torch.autograd.grad((one * weight).sum(), of) for one in (found, wanted))
    for one, other in zip((found, *a), (wanted, *b), strict=True):
        assert torch.isfinite(one).all()
        assert torch.linalg.norm(one - other) <= 1e-10 * torch.linalg.norm(other)


@pytest.mark.parametrize("states", [1, 700, 2500, EVERYTHING])
@pytest.mark.parametrize("step", [1e-6, 1.0, 300.0], ids=["never forgets", "forgets", "at once"])
@pytest.mark.parametrize("tokens", [1, 2, 7, 64, 97])
def test_outputs_and_gradients_are_those_of_the_recurrence(
    tokens: int, step: float, states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATES", states)
    tensors = given(tokens, step)
    assert_same(selective_scan(*tensors), one_by_one(*tensors), tensors)


def test_decays_that_underflow_leave_finite_numbers() -> None:
    """exp(-5000) is 0: nothing is divided by it."""
    tensors = given(50)
    with torch.no_grad():
        tensors[1][:, 20:30] = 5000.0
    assert_same(selective_scan(*tensors), one_by_one(*tensors), tensors)


def test_single_precision_is_as_good_as_the_recurrence() -> None:
    tensors = [one.detach() for one in given(300)]
    exact, single = one_by_one(*tensors), [one.float() for one in tensors]
    found = torch.linalg.norm(selective_scan(*single) - exact)
    assert found < 2 * torch.linalg.norm(one_by_one(*single) - exact)


def test_mambapy_gives_the_same() -> None:
    if importlib.util.find_spec("mambapy") is None:
        message = "mambapy is not here: pip install -e .[dev]"
        required = os.environ.get("DEALIAS_REQUIRE_ORACLES") == "1"
        (pytest.fail if required else pytest.skip)(message)
    from mambapy.mamba import MambaBlock, MambaConfig

    block = MambaBlock(MambaConfig(d_model=4, n_layers=1, d_state=5))
    u, dt, A, B, C = given(37, 0.5, groups=1)
    skip = torch.randn(4, dtype=torch.float64, requires_grad=True)
    inputs = [one.squeeze(2) if one.ndim == 4 else one[0] for one in (u, dt, A, B, C)]
    wanted = block.selective_scan(*inputs, skip)
    assert_same(selective_scan(u, dt, A, B, C)[:, :, 0] + skip * u[:, :, 0], wanted,
                [u, dt, A, B, C])  # fmt: skip


def peak_bytes(allocator_peak: Any, tokens: int) -> int:
    tensors = [one.detach().float().requires_grad_() for one in given(tokens, 0.1, 2, 32)]
    with allocator_peak() as peak:
        selective_scan(*tensors).sum().backward()
    return peak.bytes


def test_memory_is_never_that_of_all_tokens_states(allocator_peak: Any, monkeypatch: Any) -> None:
    tokens = 2048
    everything = 4 * 2 * tokens * 2 * 32 * 5
    found = {}
    for states in (2**14, EVERYTHING):
        monkeypatch.setattr(module, "STATES", states)
        found[states] = peak_bytes(allocator_peak, tokens) - peak_bytes(allocator_peak, 1)
    # states at once: a chunk of them, or all four times; beside them what has no states
    assert found[EVERYTHING] - found[2**14] > 3.5 * everything


class Operations(TorchDispatchMode):
    """Their names."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_it_is_one_operation_each_way() -> None:
    """However many tokens there are: so counting, compiling and recomputing it is cheap."""
    tensors = given(200)
    with Operations() as operations:
        selective_scan(*tensors).sum().backward()
    ours = [name for name in operations.seen if name.startswith("dealias")]
    assert ours == ["dealias.selective_scan.default", "dealias.selective_scan_backward.default"]
    assert len(operations.seen) < 20


def test_shapes_without_values_are_the_real_ones() -> None:
    tensors = [one.detach() for one in given(40)]
    operations = torch.ops.dealias
    y, starts = operations.selective_scan(*tensors)
    for operation, args in (
        (operations.selective_scan, tensors),
        (operations.selective_scan_backward, [y, *tensors, starts]),
    ):
        torch.library.opcheck(
            operation.default, tuple(args), test_utils=("test_schema", "test_faketensor")
        )


def test_what_mamba_ssm_is_given_is_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interface: tokens last, groups and channels in one axis; here computed by ourselves."""

    def theirs(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        assert all(one.is_contiguous() for one in (u, delta, A, B, C))
        each = A.shape[0] // B.shape[1]
        B, C = (one.repeat_interleave(each, 1) for one in (B, C))
        h, out = torch.zeros(len(u), *A.shape, dtype=u.dtype), []
        for t in range(u.shape[2]):
            step = delta[:, :, t, None]
            h = torch.exp(step * A) * h + step * B[..., t] * u[:, :, t, None]
            out.append((h * C[..., t]).sum(-1))
        return torch.stack(out, 2)

    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = theirs  # type: ignore[attr-defined]
    assert module._kernel() is None  # not here
    found = ModuleType("mamba_ssm")
    found.__spec__ = ModuleSpec("mamba_ssm", None)
    monkeypatch.setitem(sys.modules, "mamba_ssm", found)
    monkeypatch.setitem(sys.modules, interface.__name__, None)  # type: ignore[arg-type]
    assert module._kernel() is None  # here, but it cannot be imported
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", ModuleType("mamba_ssm.ops"))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    assert module._kernel() is theirs
    tensors = given(23)
    assert_same(module._by_kernel(theirs, *tensors), selective_scan(*tensors), tensors)


def test_softplus_of_far_negative_steps_stands_still() -> None:
    """A step of 0 takes nothing in and forgets nothing."""
    u, _, A, B, C = (one.detach() for one in given(9))
    dt = F.softplus(torch.full_like(u, -800.0))
    assert torch.equal(selective_scan(u, dt, A, B, C), torch.zeros_like(u))
