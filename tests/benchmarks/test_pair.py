"""E2E-VarNet twice: the comparison is fair only if both are the same network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apart import Apart
from dealias.engine.cpu import INSTRUCTIONS
from pair import Pair, peaks, steps, train
from rows import COMPILED, LEANEST, OFFICIAL, OFFICIAL_READY, PARKED, ROWS, rows_of
from versus import TOO_LARGE, timed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair((3, 48, 32), (32, 32), (1, 4), CPU)


def test_both_have_the_same_weights_and_no_second_copy(pair: Pair) -> None:
    network, _ = pair.ours(ROWS["crop"])
    own = {one.data_ptr() for one in network.parameters()}
    assert own == {one.data_ptr() for one in pair.official.parameters()}
    assert all(one.requires_grad for one in network.parameters())
    assert pair.difference() < 1e-5


def test_another_network_would_be_told(pair: Pair) -> None:
    other = Pair((3, 48, 32), (32, 32), (1, 4), CPU)
    ours = other.ours
    other.ours = lambda row: ours(ROWS["crop"])  # type: ignore[method-assign]
    assert other.difference() > 1e-3


def test_gradients_of_a_step_that_failed_are_dropped(pair: Pair) -> None:
    network, call = pair.ours(ROWS["crop"])

    def fail(gradient: torch.Tensor) -> None:
        raise RuntimeError("out of memory")

    # the sensitivity network's gradients come last, when the others are there
    handle = next(network.sensitivity.parameters()).register_hook(fail)  # type: ignore[union-attr]
    with pytest.raises(RuntimeError):
        train(network, call, pair)
    handle.remove()
    assert all(one.grad is None for one in network.parameters())


def test_peaks_are_those_of_one_step(pair: Pair) -> None:
    """Weights and k-space are in it, and the leanest policy is."""
    found = peaks(
        pair, {"lean": ROWS["crop, leanest"], "kept": ROWS["crop, all coils at once"]}, "training"
    )
    assert list(found) == [OFFICIAL, "lean", "kept"]
    gradients = sum(one.nbytes for one in pair.official.parameters())
    assert all(one["peak"] > pair.there() + gradients for one in found.values())
    assert found["lean"]["peak"] < found["kept"]["peak"] < found[OFFICIAL]["peak"]
    assert all("reserved" not in one for one in found.values())


def test_a_row_that_does_not_fit_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pair.official, "forward", fail)
    found = peaks(pair, {"crop": ROWS["crop"]}, "inference")
    assert found[OFFICIAL] == TOO_LARGE
    assert found["crop"]["peak"] > 0


def test_compiled_rows_alone_are_compiled(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("pair.compile_denoisers", lambda network, *_: seen.append(network))
    made = [pair.ours(row)[0] for row in (ROWS | COMPILED).values()]
    assert seen == made[-1:]


def test_official_comes_first_and_every_row_is_made(pair: Pair) -> None:
    assert list(steps(pair, ROWS, "inference")) == [OFFICIAL, OFFICIAL_READY, *ROWS]


def test_parking_is_a_row_on_a_gpu_alone() -> None:
    assert rows_of(CPU) == ROWS
    assert set(rows_of(torch.device("cuda"))) == {*ROWS, *PARKED, *COMPILED}
    (parked,) = PARKED.values()
    assert parked.policy.model_copy(update={"offload": ()}) == ROWS["crop, recompute"].policy
    assert ROWS["crop, leanest"].policy == LEANEST


def test_official_apart_is_timed_there_and_without_our_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(INSTRUCTIONS, "SSE41")  # as if chosen here, after apart was imported
    apart = Apart(((2, 24, 20), (20, 20), (1, 2)), "inference", ready=True)
    wall, cpu = timed(apart, CPU)
    assert 0 < wall < 60
    assert cpu > 0
    environment = Path(f"/proc/{apart._process.pid}/environ")
    if environment.exists():
        assert b"SSE41" not in environment.read_bytes()
