"""A memory policy that cannot work is refused before a folder is made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dealias.errors import SettingsError
from dealias.runs.train import Hooks, start


def test_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(SettingsError, match=r"memory.coils.*ImageUnet"):
        start("unet", tmp_path, out, ["memory.coils=4"], torch.device("cpu"), Hooks())
    assert not out.exists()
