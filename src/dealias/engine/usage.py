"""How much memory was used at most: what a person must know to choose what to run."""

from __future__ import annotations

import resource
import sys

import torch


def peak_memory(device: torch.device) -> dict[str, int]:
    """Most bytes in use since the last call on a GPU, or since the process began on a CPU.

    Args:
        device: Whose memory.

    Returns:
        On a GPU `allocated` by tensors and `reserved` from the driver, which is what other programs
        cannot have; on a CPU `resident`, all memory of the process.
    """
    if device.type == "cuda":
        peak = {
            "allocated": torch.cuda.max_memory_allocated(device),
            "reserved": torch.cuda.max_memory_reserved(device),
        }
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    # Linux counts in KiB, macOS in bytes
    unit = 1 if sys.platform == "darwin" else 1024
    return {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
