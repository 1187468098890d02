"""What was measured on this machine, kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dealias.atomic import write_json
from dealias.cachefolder import cache_folder
from dealias.engine.cpu import INSTRUCTIONS
from dealias.engine.device import device_name
from dealias.errors import DiskError


def measured_file(kind: str, device: torch.device) -> Path:
    """Where one kind of measurement lies: a file for each device, torch version and threads.

    On a CPU also for the instructions that oneDNN is held to.
    """
    parts = [kind, device_name(device), f"torch{torch.__version__}"]
    if device.type == "cpu":
        parts += [os.environ.get(INSTRUCTIONS, "all"), f"{torch.get_num_threads()}threads"]
    name = "-".join(re.sub(r"[^A-Za-z0-9.+]+", "_", part) for part in parts)
    return cache_folder() / f"{name}.json"


def read_measured(path: Path) -> dict[str, Any]:
    """What was measured; nothing where there is no such file, or it cannot be read."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def write_measured(
    path: Path, values: dict[str, Any], warn: Callable[[str], None] = lambda text: None
) -> None:
    """Add to a file, in one step; what another process added since stays.

    Args:
        path: From `measured_file`.
        values: What to add.
        warn: Told if the folder cannot be written: then it is measured again next time.
    """
    try:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**read_measured(path), **values})
    except (OSError, DiskError) as error:
        warn(f"what was measured is not kept: {error}")
