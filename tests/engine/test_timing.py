"""What disturbed a run does not count."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dealias.engine import timing

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("runs", "found", "left"),
    [
        ([0.3, 0.002, 0.001], 0.002, 1),  # the first waited for something
        ([0.3, 0.4, 0.1], 0.3, 1),
        ([0.03, 0.01, 0.02, 0.005], 0.01, 1),  # enough
        ([0.005, 0.004, 0.003, 0.002, 0.001, 0.0], 0.001, 1),
    ],
)
def test_the_fastest_of_at_least_two(
    monkeypatch: pytest.MonkeyPatch, runs: list[float], found: float, left: int
) -> None:
    later = iter(runs)
    monkeypatch.setattr(timing, "_once", lambda call, device: next(later))
    assert timing.fastest(lambda: None, CPU) == found
    assert len(list(later)) == left


@pytest.mark.parametrize(("moved", "seconds"), [(1 << 10, 2.0), (1 << 24, 3.0)])
def test_what_is_large_is_half_cold(
    monkeypatch: pytest.MonkeyPatch, moved: int, seconds: float
) -> None:
    def runs(call: Any, device: torch.device, **how: Any) -> float:
        return 4.0 if "before" in how else 2.0

    monkeypatch.setattr(timing, "fastest", runs)
    assert timing.usual(lambda: None, CPU, moved) == seconds
