"""What a process that computes on a CPU does once: how it keeps memory, which instructions it uses.

Both change the time alone; instructions also rounding.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

from dealias.kernels.build import use_kernels

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of glibc's mallopt."""
INSTRUCTIONS = "ONEDNN_MAX_CPU_ISA"
"""oneDNN's environment variable, read when it makes its first convolution."""
MALLOC_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")
ZEN_3_AND_4 = "25"
"""AMD's family of both; of the two Zen 4 alone has AVX-512."""


def prepare_cpu() -> None:
    """Use our own kernels; keep freed memory, unless the user's environment speaks of malloc."""
    use_kernels()
    if not any(name in os.environ for name in MALLOC_CHOSEN):
        keep_freed_memory()


def prepare_inference() -> None:
    """Use the instructions that are fastest where no gradients are asked for.

    For a process that only reconstructs, before its first convolution. What the user's environment
    says stands.
    """
    found = best_instructions(_about_cpu())
    if found and INSTRUCTIONS not in os.environ and "DNNL_MAX_CPU_ISA" not in os.environ:
        os.environ[INSTRUCTIONS] = found


def keep_freed_memory() -> bool:
    """Let malloc give nothing back to the system, as torch does on a GPU.

    Otherwise each large tensor is made of fresh pages, which the system clears one by one: a
    quarter of the time of E2E-VarNet on a CPU, or more. The process keeps what it needed at most.

    Returns:
        Whether it could be done; it can with glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def best_instructions(about: str) -> str | None:
    """What oneDNN should be held to, or None for its own choice.

    Zen 4 computes 512 bits in two halves, so AVX-512 gains nothing; but oneDNN then works in blocks
    of 16 output channels instead of 8, which wastes half the work of 8 or 18 channels. Gradients of
    weights take twice as long with AVX2.

    Args:
        about: /proc/cpuinfo.
    """
    amd = re.search(r"^vendor_id\s*:\s*AuthenticAMD$", about, re.MULTILINE)
    family = re.search(rf"^cpu family\s*:\s*{ZEN_3_AND_4}$", about, re.MULTILINE)
    wide = re.search(r"^flags\s*:.*\bavx512f\b", about, re.MULTILINE)
    return "AVX2" if amd and family and wide else None


def _about_cpu() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
