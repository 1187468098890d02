"""No memory left: said with the shape and what helps; never a slice skipped in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.subprocess
STEP = "no memory left for (B, S, C, H, W) = (1, 1, 4, 48, 40); `dealias plan RECIPE --memory"


@pytest.mark.parametrize(("mebibytes", "said"), [(20, "error: memory: found none left"),
                                                 (300, STEP)])  # fmt: skip
def test_what_does_not_fit_stops_the_run(
    mebibytes: int, said: str, train: Callable[..., Any], tmp_path: Path
) -> None:
    """Too little for the first tensors, and too little for a step."""
    large = ("network.cascades=12", "network.channels=48", "network.pools=2")
    stopped = train(*large, memory=mebibytes << 20)
    assert stopped.wait() == 5, stopped.err
    assert said in stopped.err.splitlines()[-1]
    assert "Traceback" not in stopped.err
    assert not (tmp_path / "run" / "main" / "finished.json").exists()
