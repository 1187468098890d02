"""What the device can do at most, and what the installed torch can use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dealias.engine.ceilings import Ceilings, known_ceilings, measure_ceilings
from dealias.engine.machine import Gpu, advice, compiling, look_around, memory_limit

CPU = torch.device("cpu")


def gpu(capability: str, usable: bool = True) -> Gpu:
    return Gpu(0, "a card", capability, 8 << 30, usable, "")


def test_ceilings_are_plausible_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known_ceilings(CPU) is None
    found = measure_ceilings(CPU)
    assert 1e9 < found.flops < 1e14
    assert 1e8 < found.bytes < 1e13
    assert 1e-7 < found.call < 1e-2
    assert known_ceilings(CPU) == found


def test_the_slower_of_both_is_the_floor() -> None:
    ceilings = Ceilings(flops=100.0, bytes=10.0, call=0.0)
    assert ceilings.floor(200, 1) == 2
    assert ceilings.floor(200, 50) == 5


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
