"""Imported, this makes os.fsync wait for no disk, in this process and those forked from it.

Kills lose nothing that the kernel was given; only a power cut would, and no test cuts the power.
A run that saves after every step flushes over a hundred times, milliseconds each.
"""

from __future__ import annotations

import os


def fsync(handle: int) -> None:
    """Refuse what is no open file, as os.fsync does."""
    os.fstat(handle)


os.fsync = fsync  # type: ignore[assignment]
