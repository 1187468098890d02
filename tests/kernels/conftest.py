"""A process that asked for our kernels, with each width of vectors that this processor has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dealias.kernels import build


def _forget() -> None:
    build._found.cache_clear()
    build.simd.cache_clear()
    build._asked.clear()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known of this machine yet, and nothing stays known."""
    monkeypatch.setenv(build.CHOICE, "1")
    _forget()
    yield
    _forget()


@pytest.fixture(params=[width for width in (64, 32) if width <= build.simd()] or ["none"])
def kernels(fresh: None, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    """Our kernels are in use."""
    if request.param == "none" or build.trouble():
        how = "install gcc on Linux on a processor with AVX2"
        if os.environ.get("DEALIAS_REQUIRE_ORACLES") == "1":
            pytest.fail(f"no kernels here: {build.trouble()}; {how}")
        pytest.skip(f"no kernels here: {build.trouble()}; {how}")
    # the fixture `fresh` clears the cache of the function that this replaces
    monkeypatch.setattr(build, "simd", Width(request.param))
    monkeypatch.setattr("dealias.kernels.convolution.simd", build.simd)
    build._found.cache_clear()
    build.use_kernels()


class Width:
    """In place of `build.simd`."""

    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self) -> int:
        return self.width

    def cache_clear(self) -> None:
        """As a cached function has it."""


class Ran(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        self.count[name] = self.count.get(name, 0) + 1
        return func(*args, **(kwargs or {}))

    def ours(self) -> int:
        """Convolutions by our kernels, forward."""
        found = self.count.get("dealias::conv3x3_moments", 0)
        return found + self.count.get("dealias::conv3x3", 0)


@pytest.fixture
def ran() -> type[Ran]:
    """with ran() as seen: ...; seen.count."""
    return Ran


@pytest.fixture
def off() -> Callable[[Callable[[], Any]], Any]:
    """off(function): what it gives without our kernels."""

    def without(function: Callable[[], Any]) -> Any:
        asked = set(build._asked)
        build._asked.clear()
        try:
            return function()
        finally:
            build._asked.update(asked)

    return without


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, for this test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
