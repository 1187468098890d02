"""Fixtures shared by all tests: oracles, the real data, and quiet threads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

PACKAGES = {"ismrmrd_info": "ismrmrd-tools"}


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
