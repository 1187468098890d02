"""What a checkpoint's manifest tells of where it was made and of its data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import torch

from dealias.kernels.build import said
from dealias.scan.scan import Scan


def environment(device: torch.device, ranks: int = 1) -> dict[str, Any]:
    """What exactness depends on: another value of any of these may change the last bits."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    # each has a choice that the other has not
    cuda = device.type == "cuda"
    own = {"tf32": torch.backends.cudnn.allow_tf32} if cuda else {"kernels": said()}
    return {
        "torch": torch.__version__,
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "world size": ranks,
        **own,
    }


def manifest_of(scans: Sequence[Scan]) -> list[dict[str, Any]]:
    """Name, shape and content of each training scan, so that a resume notices changed data."""
    return [{"name": scan.name, "shape": list(scan.shape), "id": scan.id} for scan in scans]
