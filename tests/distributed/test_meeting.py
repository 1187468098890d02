"""What ends one rank ends all, soon, with one message and one exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dealias.engine.joining import joined
from dealias.errors import SettingsError

pytestmark = pytest.mark.subprocess
CASES = {
    "refused": ([3, 3], "error: a.h5: found nothing good; expected something; mend it"),
    "bug": ([5, 1], "error: a bug in dealias: ZeroDivisionError: of ours"),
    "settings": ([2, 2], "error: settings: found others on rank 1 than on rank 0"),
    "data": ([3, 3], "error: training data: found others on rank 1 than on rank 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_message_for_all(case: str, work: Callable[..., Any]) -> None:
    codes, said = CASES[case]
    both = work("meeting", case=case)
    assert both.wait() == codes, both.err
    assert len(both.errors) == 1
    assert both.errors[0].startswith(said)


def test_a_rank_that_hangs_is_named(work: Callable[..., Any]) -> None:
    both = work("meeting", case="hang", timeout=3, patience=1)
    both.processes[0].join(60)
    both.kill()
    both.wait()
    assert both.codes[0] == 5
    assert len(both.errors) == 1
    assert both.errors[0].startswith("error: rank 1 of 2: found no answer")
    assert "Timed out" in both.errors[0]


def test_ranks_without_a_place_to_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"2 ranks, but not RANK, .*torchrun"), joined("cpu"):
        pass


@pytest.mark.slow
def test_nothing_takes_the_group_for_a_default() -> None:
    """What would hold the connections of a rank that leaves is imported before there are any."""
    code = (
        "import dealias.engine.joining, sys; sys.exit('torch.distributed.nn.functional' not in "
        "sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
