"""What the device can do at most, and what the installed torch can use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dealias.engine.ceilings import Ceilings, known_ceilings, measure_ceilings
from dealias.engine.count import Count, Use
from dealias.engine.forecast import forecast
from dealias.engine.machine import Gpu, advice, compiling, look_around, memory_limit
from dealias.engine.operation import Operation
from dealias.engine.workspace import Cost

CPU = torch.device("cpu")


def gpu(capability: str, usable: bool = True) -> Gpu:
    return Gpu(0, "a card", capability, 8 << 30, usable, "")


def test_ceilings_are_plausible_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known_ceilings(CPU) is None
    found = measure_ceilings(CPU)
    assert 1e9 < found.flops < 1e14
    assert 1e8 < found.bytes < 1e13
    assert 1e-7 < found.call < found.cold_call < 1e-2
    assert known_ceilings(CPU) == found


def test_the_slower_of_both_is_the_floor() -> None:
    ceilings = Ceilings(flops=100.0, bytes=10.0, call=0.0, cold_call=0.0)
    assert ceilings.floor(200, 1) == 2
    assert ceilings.floor(200, 50) == 5


def test_operations_cost_more_among_much_data() -> None:
    """What Python needs is no longer in the caches."""
    ceilings = Ceilings(flops=1e9, bytes=1e9, call=1.0, cold_call=5.0)
    x = [torch.empty(size, device="meta") for size in (8, 1 << 20)]
    small, large = (Operation.of(torch.ops.aten.neg.default, (one,), {}, one) for one in x)
    uses = tuple(Use(one, times, 0, 0) for one, times in ((small, 3), (large, 2)))
    count = Count(uses, 0, 0, calls=5, views=10)
    found = forecast(count, lambda operation: Cost(0, 0.0), ceilings).seconds
    assert found == (3 * 1 + 2 * 5) * (1 + 10 / 5)


def test_a_container_may_use_less_than_there_is(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    whole = memory_limit((str(limit),))
    limit.write_text("123456789\n")
    assert memory_limit((str(limit), str(tmp_path / "absent"))) == 123456789 < whole


def test_pascal_is_told_which_torch_it_needs() -> None:
    assert "CUDA 12.6" in advice((6, 1), ["sm_75", "sm_90"])
    assert "CUDA 12.6" not in advice((12, 0), ["sm_75", "sm_90"])


def test_why_compile_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "no C++ compiler" in compiling(())
    monkeypatch.setattr("dealias.engine.machine.find_spec", lambda name: object())
    assert compiling((gpu("8.6"),)) == "works"
    assert "capability" in compiling((gpu("6.1"),))
    assert "no C++ compiler" in compiling((gpu("8.6", usable=False),))


def test_the_machine_is_described() -> None:
    machine = look_around()
    assert machine.torch == torch.__version__
    assert machine.threads == torch.get_num_threads()
    assert machine.memory > 1 << 28
    assert machine.to_json()["gpus"] == () or torch.cuda.device_count() > 0
