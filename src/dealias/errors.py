"""Errors that a user can mend: one line that says where, found, expected, and what to do."""

from __future__ import annotations

import unicodedata


def printable(text: object) -> str:
    """Text on one line with control characters escaped, so a hostile name cannot move the cursor.

    Args:
        text: Anything with a ``str``; file names, keys and attributes come from strangers.

    Returns:
        The same characters, those of Unicode category C (control, format) written as escapes.
    """
    return "".join(
        char if not unicodedata.category(char).startswith("C") else ascii(char)[1:-1]
        for char in str(text)
    )


_NO_MEMORY = ("allocate memory", "could not create a primitive", "could not create a memory")
"""What torch's CPU allocator and oneDNN say when there is none."""


def no_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a CPU or a GPU; torch need not be loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


class UserError(Exception):
    """A mistake that is not ours; printed as one line, without a traceback.

    The arguments default to nothing so that a worker process can rebuild the error from one string.

    Args:
        where: The file, key or option that is wrong.
        found: What stands there.
        expected: What should stand there.
        do: What to do about it, best as a command.
    """

    exit_code = 2

    def __init__(self, where: object, found: str = "", expected: str = "", do: str = "") -> None:
        super().__init__(where, found, expected, do)

    def __str__(self) -> str:
        where, found, expected, do = (printable(part) for part in self.args)
        parts = [f"found {found}" if found else "", f"expected {expected}" if expected else "", do]
        said = "; ".join(part for part in parts if part)
        return f"{where}: {said}" if said else where


class SettingsError(UserError):
    """A command line, recipe or setting that cannot be used."""

    exit_code = 2


class DataError(UserError):
    """Data that is refused."""

    exit_code = 3


class CheckpointError(UserError):
    """A checkpoint or model file that is refused."""

    exit_code = 4


class HealthError(UserError):
    """Training stopped for its own good: numbers that are not finite, or no memory left."""

    exit_code = 5


class DiskError(UserError):
    """The disk is full or cannot be written."""

    exit_code = 6
