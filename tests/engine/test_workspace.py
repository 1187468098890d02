"""Hidden buffers and times: measured once on each device, kept, and never trusted blindly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from dealias.cachefolder import cache_folder
from dealias.engine import workspace as module
from dealias.engine.counting import Counter
from dealias.engine.measured import measured_file, read_measured
from dealias.engine.operation import Operation
from dealias.engine.workspace import Workspace

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def operations(size: int = 96) -> list[Operation]:
    """A matrix product, and a convolution whose backward pass copies layouts."""
    counter = Counter((), ())
    with counter:
        x = torch.empty(1, 16, size, size, device="meta", requires_grad=True)
        weight = torch.empty(8, 16, 3, 3, device="meta", requires_grad=True)
        F.conv2d(x, weight, padding=1).sum().backward()
    return [use.operation for use in counter.count().uses]


def backward(some: list[Operation]) -> Operation:
    return next(one for one in some if "convolution_backward" in one.key)


def test_a_hidden_buffer_is_found() -> None:
    some = operations()
    space = Workspace(CPU)
    assert space.cost(some[0]) is None
    space.measure(some)
    costs = {one.key: space.cost(one) for one in some}
    assert all(cost is not None and cost.seconds > 0 for cost in costs.values())
    hidden = costs[backward(some).key]
    # contiguous inputs are copied to another layout
    assert hidden is not None
    assert hidden.hidden >= 4 * 8 * 96 * 96
    simple = [cost for key, cost in costs.items() if "sum" in key or "ones" in key]
    assert all(cost is not None and cost.hidden < 4096 for cost in simple)


def test_it_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    some = operations()
    done: list[int] = []
    Workspace(CPU).measure(some, done.append)
    assert sum(done) == len(some)
    monkeypatch.setattr(module, "_measure", None)
    again = Workspace(CPU)
    again.measure(some)
    assert again.missing(some) == []
    assert len(again.missing(operations(64))) > 0


def test_another_number_of_threads_is_measured_anew() -> None:
    some = operations()
    Workspace(CPU).measure(some)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert len(Workspace(CPU).missing(some)) == len(some)
    finally:
        torch.set_num_threads(before)


def test_other_kernels_are_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    some = operations()
    Workspace(CPU).measure(some)
    assert Workspace(CPU).missing(some) == []
    monkeypatch.setattr(module, "version", lambda: "float-64-0123456789abcdef")
    assert len(Workspace(CPU).missing(some)) == len(some)


def test_the_file_says_device_and_torch_and_is_whole() -> None:
    Workspace(CPU).measure(operations())
    path = measured_file("operations-torch", CPU)
    assert path.parent == cache_folder()
    assert torch.__version__ in path.name
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert all(len(value) == 2 for value in json.loads(path.read_text()).values())


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1, "b": [1]}'])
def test_a_damaged_file_is_measured_anew(text: str) -> None:
    some = operations()
    path = measured_file("operations-torch", CPU)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    space = Workspace(CPU)
    assert len(space.missing(some)) == len(some)
    space.measure(some)
    assert len(read_measured(path)) >= len(some)


def test_a_cache_that_cannot_be_written_is_no_harm(empty_cache: Path) -> None:
    (empty_cache / "dealias").write_text("a file where the folder should be")
    said: list[str] = []
    some = operations()
    space = Workspace(CPU, said.append)
    space.measure(some)
    assert space.cost(backward(some)) is not None
    assert len(said) > 0
    assert "not kept" in said[0]


def test_measuring_leaves_random_numbers_alone() -> None:
    counter = Counter((), ())
    with counter:
        F.dropout(torch.empty(10, 10, device="meta"), 0.5)
    before = torch.get_rng_state()
    Workspace(CPU).measure(use.operation for use in counter.count().uses)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_folder().is_absolute()
    assert cache_folder().name == "dealias"
