"""Fixtures shared by all tests: oracles, the real data, and quiet threads."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import unflushed  # noqa: F401  disks are not waited for

torch.set_num_threads(1)
# a command that is run inside this process shall not choose for the tests after it
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "ALL")
os.environ.setdefault("DEALIAS_KERNELS", "0")

PACKAGES = {"ismrmrd_info": "ismrmrd-tools"}


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What tests measure of this machine stays out of the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def server(own_cache_folder: Path) -> Any:
    """A fork server that has everything imported.

    There is one to a process: the first command that a test runs would start one that has next to
    nothing imported, and each process forked from that would import torch for seconds.
    """
    context = multiprocessing.get_context("forkserver")
    # the first optimiser of a process imports torch._dynamo: a second
    modules = ["dealias.runs.train", "dealias.cli.main", "dealias.io.open", "torch._dynamo"]
    context.set_forkserver_preload([*modules, "unflushed"])
    forkserver.ensure_running()
    return context


def absent(what: str, how: str) -> None:
    """Skip, or fail where oracles are required, saying what is missing and how to get it."""
    message = f"{what} is not here: {how}"
    if os.environ.get("DEALIAS_REQUIRE_ORACLES") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def need() -> Callable[[str], str]:
    """Path of an oracle's command, such as need("bart")."""

    def find(command: str) -> str:
        path = shutil.which(command)
        if path is None:
            absent(command, f"apt-get install {PACKAGES.get(command, command)}")
        assert path is not None
        return path

    return find


@pytest.fixture
def real_data() -> Path:
    """The folder of real MRI data, named by DEALIAS_TEST_DATA."""
    folder = os.environ.get("DEALIAS_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        absent("the real data folder", "set DEALIAS_TEST_DATA to it")
    assert folder is not None
    return Path(folder)


class AllocatorPeak:
    """Most bytes that torch's CPU allocator held at once inside the `with`, beyond those before.

    It sees what no count of tensors sees: the buffers inside of kernels.

    Attributes:
        bytes: The peak.
        left: What is still held at the end.
    """

    def __enter__(self) -> AllocatorPeak:
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._profile.__exit__(*error)
        events = self._profile.profiler.kineto_results.events()  # type: ignore[union-attr]
        changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
        self.bytes = live = 0
        for _, change in sorted(changes, key=lambda one: one[0]):
            live += change
            self.bytes = max(self.bytes, live)
        self.left = live


@pytest.fixture
def allocator_peak() -> type[AllocatorPeak]:
    """with allocator_peak() as peak: ...; peak.bytes."""
    return AllocatorPeak
