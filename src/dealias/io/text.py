"""Text of variable length, read in a child process.

In a damaged file such text can crash the HDF5 library; a child dies alone, with a time limit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

from dealias.errors import DataError

TIMEOUT_SECONDS = 20
_READ = {
    "dataset": "file[sys.argv[2]][()]",
    "attribute": "file.attrs[sys.argv[2]]",
}
_PROGRAM = (
    "import sys, h5py\n"
    "with h5py.File(sys.argv[1], 'r') as file:\n"
    "    text = {}\n"
    "text = text.encode() if isinstance(text, str) else bytes(text)\n"
    "sys.stdout.buffer.write(text[: int(sys.argv[3]) + 1])\n"
)


def read_text(path: Path, kind: Literal["dataset", "attribute"], name: str, most: int) -> bytes:
    """A text at the top of an HDF5 file.

    Args:
        path: The file.
        kind: Where the text stands.
        name: Its name.
        most: Bytes that are accepted.

    Returns:
        The text, undecoded.

    Raises:
        DataError: It cannot be read, is longer, or the library crashes or hangs on it.
    """
    # isolated: a file h5py.py in the current folder is nobody's h5py
    where = f"{path}: {kind} '{name}'"
    program = _PROGRAM.format(_READ[kind])
    command = [sys.executable, "-I", "-c", program, str(path), name, str(most)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(where, "no answer from the HDF5 library", "a text", "") from None
    if done.returncode != 0:
        raise DataError(where, "nothing readable", "a text", "copy the file again")
    if len(done.stdout) > most:
        raise DataError(where, f"over {most >> 20} MiB", "a shorter text", "")
    return done.stdout
