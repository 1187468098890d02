"""HDF5 files written in a line, and refused by a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from dealias.errors import DataError
from dealias.io.open import open_scan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a file that is not there yet."""
    return tmp_path / "scan.h5"


@pytest.fixture
def write() -> Callable[..., Path]:
    """write(path, name=values ...) writes datasets alone, and gives the path back."""

    def store(path: Path, **datasets: object) -> Path:
        with h5py.File(path, "w") as file:
            for name, value in datasets.items():
                file[name] = value
        return path

    return store


@pytest.fixture
def refused() -> Callable[..., str]:
    """refused(path, *said): the one line of refusal; it names the file and holds all of `said`."""

    def refuse(path: Path, *said: str) -> str:
        with pytest.raises(DataError) as caught:
            scan = open_scan(path)
            scan.kspace(slice(None))
        text = str(caught.value)
        assert caught.value.exit_code == 3
        assert text.startswith(str(path))
        assert "\n" not in text
        for part in said:
            assert part in text
        return text

    return refuse
