"""Comparisons: what is timed, what is left out, and what happens where memory does not suffice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

import versus

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_calls_take_turns_and_the_first_round_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    seconds = {"a": [900.0, 3.0, 1.0, 2.0], "b": [900.0, 6.0, 5.0, 4.0]}

    def timed(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
        call()
        return seconds[seen[-1]].pop(0), 7.0

    monkeypatch.setattr(versus, "timed", timed)
    calls = {name: lambda name=name: seen.append(name) for name in seconds}
    found = versus.interleaved(calls, 3)
    assert seen == ["a", "b"] * 4
    assert found == {"a": {"wall": [1.5, 2.0, 2.5], "cpu": [7.0] * 3},
                     "b": {"wall": [4.5, 5.0, 5.5], "cpu": [7.0] * 3}}  # fmt: skip
    seconds.update(a=[900.0], b=[800.0])
    assert versus.interleaved(calls, 1, warm=False)["a"]["wall"][1] == 900.0


def test_sleeping_costs_no_cpu_and_work_does() -> None:
    def work() -> None:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass

    wall, cpu = versus.timed(lambda: time.sleep(0.1), CPU)
    assert cpu < 0.05 < 0.1 <= wall
    assert versus.timed(work, CPU)[1] >= 0.05


def test_quartiles_are_those_of_the_sorted_values() -> None:
    assert versus.quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == [2.0, 3.0, 4.0]
    assert versus.quartiles([2.0]) == [2.0, 2.0, 2.0]


def test_what_does_not_fit_is_said_and_the_others_go_on() -> None:
    calls = {"large": 0, "late": 0, "small": 0}

    def count(name: str) -> None:
        calls[name] += 1
        if name == "large" or (name == "late" and calls[name] == 2):
            raise torch.OutOfMemoryError("CUDA out of memory")

    found = versus.interleaved({name: lambda name=name: count(name) for name in calls}, 2)
    assert found["large"] == found["late"] == versus.TOO_LARGE
    assert found["small"]["wall"][1] > 0
    assert calls == {"large": 1, "late": 2, "small": 3}


def test_other_errors_are_no_lack_of_memory() -> None:
    def wrong() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        versus.interleaved({"wrong": wrong}, 1)


class Cuda:
    """What a GPU is asked to do, in order."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for name in ("synchronize", "empty_cache"):
            patch.setattr(torch.cuda, name, self._noted(name))

    def _noted(self, name: str) -> Any:
        return lambda *_: self.seen.append(name)


def test_a_gpu_is_waited_for_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    clock = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: cuda.seen.append("clock") or clock())
    versus.timed(lambda: cuda.seen.append("call"), CUDA)
    assert cuda.seen == ["empty_cache", "call", "synchronize", "clock", "call", "synchronize",
                         "clock"]  # fmt: skip


def test_a_cpu_is_not_asked_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    calls = []
    versus.timed(lambda: calls.append("call"), CPU)
    assert calls == ["call"]
    assert cuda.seen == []


def test_what_a_failed_call_left_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)

    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert versus.within(fail, CUDA) is None
    assert cuda.seen == ["empty_cache"]
    assert versus.within(lambda: 3, CUDA) == 3
