"""What a worker's death looks like from here, however torch comes to notice it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dealias.errors import HealthError
from dealias.training import loader


def broken(error: Exception) -> type:
    """A DataLoader that fails at the first batch."""

    class Broken:
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            pass

        def __iter__(self) -> Iterator[Any]:
            raise error

    return Broken


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        ConnectionResetError(104, "Connection reset by peer"),
        EOFError(),
    ],
    ids=["signal", "connection", "end of file"],
)
def test_a_death_is_a_users_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "DataLoader", broken(error))
    with pytest.raises(HealthError, match="a data worker.*training.workers=0"):
        list(loader.batches(None, 0, [(0,)], 2))  # type: ignore[arg-type]


def test_another_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "DataLoader", broken(RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(loader.batches(None, 0, [(0,)], 2))  # type: ignore[arg-type]
